#include "runtime/durable_disk.h"

#include <algorithm>
#include <string_view>

#include "wire/raft.h"

namespace gallocy::runtime {
namespace {

constexpr raft::Term kTerm{1};                 // of all entries: they are nobody's but this node's
constexpr std::size_t kLeastBytes = 64 << 20;  // of notes that are worth writing everything anew for

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
  durable::Bytes notes;
  if (state.snapshot.state) notes = *state.snapshot.state;
  bytes_anew_ = notes.size();
  for (const raft::Entry& entry : state.entries) notes.insert(notes.end(), entry.bytes().begin(), entry.bytes().end());
  bytes_ = notes.size() - bytes_anew_;
  last_ = LogIndex{state.snapshot.index.value + state.entries.size()};
  auto taken = found_.take(notes);
  return taken ? Result<>()
               : fail(taken.error().code, fmt::format("{}: {}; {}", files_->path(), taken.error().message, kIfDamaged));
}

std::uint64_t DurableDisk::write(const std::vector<durable::Note>& notes) {
  durable::Bytes bytes;
  for (const durable::Note& note : notes) durable::encode(note, bytes);
  raft::Persist persist;
  append(bytes, persist);
  return write(std::move(persist));
}

// An entry has a limit, so notes are cut in pieces. The pieces of one write are all there or none.
void DurableDisk::append(const durable::Bytes& notes, raft::Persist& persist) {
  persist.first = LogIndex{last_.value + 1};
  for (std::span<const std::byte> rest = notes; !rest.empty();) {
    const auto piece = rest.first(std::min<std::size_t>(rest.size(), wire::kMaxRaftEntryBytes));
    persist.entries.push_back({.term = kTerm,
                               .kind = raft::EntryKind::kNormal,
                               .data = std::make_shared<const raft::Bytes>(piece.begin(), piece.end())});
    rest = rest.subspan(piece.size());
  }
  last_.value += persist.entries.size();
  bytes_ += notes.size();
}

std::uint64_t DurableDisk::write_anew(const durable::Core& core) {
  durable::Bytes bytes;
  core.note_all([&](const durable::Note& note) { durable::encode(note, bytes); });
  raft::Persist persist;
  if (last_ == LogIndex{}) {
    append(bytes, persist);
  } else {
    bytes_ = 0, bytes_anew_ = bytes.size();
    persist.first = LogIndex{last_.value + 1};
    persist.snapshot = raft::Snapshot{.index = last_,
                                      .term = kTerm,
                                      .configuration = {.voters = {raft::server_id(self_, 1)}, .learners = {}},
                                      .state = std::make_shared<const raft::Bytes>(std::move(bytes))};
  }
  return write(std::move(persist));
}

bool DurableDisk::has_grown() const { return bytes_ > std::max(kLeastBytes, 2 * bytes_anew_); }

std::uint64_t DurableDisk::write(raft::Persist persist) {
  persist.sequence = ++sequence_;
  persist.term = kTerm;
  writer_->write(std::move(persist));
  return sequence_;
}

}  // namespace gallocy::runtime
