// LogDirectory: the folder where a node keeps its part of the VMM log. It holds the files of raft::Store; `lock`, which
// is locked while a process uses the folder; `identity`: whose log it is; and `contacts`: where others are.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "raft/store.h"

namespace gallocy::runtime {

// Kept as a text of one line.
struct LogIdentity {
  std::uint64_t cluster = 0;  // a number that all nodes of one cluster, and no others, have
  NodeId node{};
  std::uint16_t nodes = 0;   // that founded the cluster
  std::uint32_t shards = 1;  // of the address space: so many logs
  std::uint64_t life = 0;    // grows with each start; 0: its founding was not finished
};

class LogDirectory final : public raft::StoreFiles {
 public:
  // Creates the folder if it is not there. kExists: another process uses it.
  static Result<std::unique_ptr<LogDirectory>> open(const std::string& path);
  ~LogDirectory() override;
  LogDirectory(const LogDirectory&) = delete;
  LogDirectory& operator=(const LogDirectory&) = delete;

  const std::string& path() const { return path_; }
  Result<std::optional<LogIdentity>> identity();
  Result<> set_identity(const LogIdentity& identity);
  // Addresses, as text without blanks.
  Result<std::vector<std::string>> contacts();
  Result<> set_contacts(const std::vector<std::string>& contacts);

  // StoreFiles
  Result<std::vector<std::string>> list() override;
  Result<raft::Bytes> read(const std::string& name) override;
  Result<> append(const std::string& name, std::span<const std::byte> bytes) override;
  Result<> truncate(const std::string& name, std::size_t bytes) override;
  Result<> sync(const std::string& name) override;
  Result<> sync_names() override;
  Result<> rename(const std::string& from, const std::string& to) override;
  Result<> remove(const std::string& name) override;

 private:
  explicit LogDirectory(std::string path) : path_(std::move(path)) {}
  Result<> take();
  Result<std::optional<std::string>> text(const std::string& name);
  Result<> replace(const std::string& name, const std::string& text);
  Result<int> writable(const std::string& name);
  void forget(const std::string& name);
  tl::unexpected<Error> failed(int errnum, const std::string& name, const char* what) const;

  const std::string path_;
  int folder_ = -1, lock_ = -1;
  // The file that was written to last: mostly it is the next one, too.
  std::string written_name_;
  int written_ = -1;
};

}  // namespace gallocy::runtime
