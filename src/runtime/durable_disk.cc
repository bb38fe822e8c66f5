#include "runtime/durable_disk.h"

#include <string_view>

namespace gallocy::runtime {
namespace {

constexpr std::string_view kIfDamaged =
    "remove this folder, and the others restore what the node had of durable memory";

}  // namespace

Result<std::unique_ptr<DurableDisk>> DurableDisk::open(const std::string& directory, NodeId self) {
  GALLOCY_ASSIGN(auto files, LogDirectory::open(directory));
  std::unique_ptr<DurableDisk> disk(new DurableDisk(std::move(files), self));
  GALLOCY_TRY(disk->recover());
  return disk;
}

Result<> DurableDisk::recover() {
  raft::PersistentState state;
  GALLOCY_ASSIGN(store_, open_store(*files_, self_, state, kIfDamaged));
  writer_.emplace(*store_, files_->path(), self_);
  auto kept = journal_.recover(state);
  if (!kept)
    return fail(kept.error().code, fmt::format("{}: {}; {}", files_->path(), kept.error().message, kIfDamaged));
  found_ = *std::move(kept);
  return {};
}

std::uint64_t DurableDisk::write(const std::vector<durable::Note>& notes) { return write(journal_.append(notes)); }

std::uint64_t DurableDisk::write_anew(const durable::Core& core) { return write(journal_.anew(core)); }

std::uint64_t DurableDisk::write(raft::Persist persist) {
  const std::uint64_t sequence = persist.sequence;
  writer_->write(std::move(persist));
  return sequence;
}

}  // namespace gallocy::runtime
