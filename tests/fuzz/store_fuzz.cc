// The log on disk: arbitrary bytes as a segment and a snapshot. What opens must be written to and found again.
#include <map>

#include "base/check.h"
#include "raft/store.h"

namespace gallocy::raft {
namespace {

class MemoryFiles final : public StoreFiles {
 public:
  std::map<std::string, Bytes> files;

  Result<std::vector<std::string>> list() override {
    std::vector<std::string> names;
    for (const auto& [name, bytes] : files) names.push_back(name);
    return names;
  }
  Result<Bytes> read(const std::string& name) override { return files.at(name); }
  Result<> append(const std::string& name, std::span<const std::byte> bytes) override {
    files[name].insert(files[name].end(), bytes.begin(), bytes.end());
    return {};
  }
  Result<> truncate(const std::string& name, std::size_t bytes) override {
    files.at(name).resize(bytes);
    return {};
  }
  Result<> sync(const std::string&) override { return {}; }
  Result<> sync_names() override { return {}; }
  Result<> rename(const std::string& from, const std::string& to) override {
    files[to] = std::move(files.at(from));
    files.erase(from);
    return {};
  }
  Result<> remove(const std::string& name) override {
    files.erase(name);
    return {};
  }
};

void fuzz(std::size_t split, std::span<const std::byte> bytes) {
  MemoryFiles files;
  split = std::min(split, bytes.size());
  files.files["log-0000000000000001"] = {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(split)};
  const auto rest = bytes.subspan(split);
  if (!rest.empty()) files.files["log-0000000000000002"] = {rest.begin(), rest.end()};
  PersistentState found;
  std::vector<std::string> said;
  auto store = Store::open(files, {}, found, said);
  if (!store) return;
  Persist more;
  more.term = Term{found.term.value + 1};
  more.first = LogIndex{found.snapshot.index.value + found.entries.size() + 1};
  CHECK(store->write(std::span(&more, 1)).has_value());
  PersistentState again;
  CHECK(Store::open(files, {}, again, said).has_value());
  CHECK(again.term == more.term && again.entries.size() == found.entries.size(), again.term, again.entries.size());
}

}  // namespace
}  // namespace gallocy::raft

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  gallocy::raft::fuzz(std::size_t{data[0]} * 4, std::as_bytes(std::span(data, size)).subspan(1));
  return 0;
}
