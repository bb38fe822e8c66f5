// LogDisk: a node's part of the VMM log on disk: whose it is, what was found there, and who writes it. The log of each
// further shard is in a folder of its own beside that of the first.
//
// Threads: as DiskWriter.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/disk_writer.h"
#include "runtime/log_directory.h"

namespace gallocy::runtime {

class LogDisk {
 public:
  // Takes the folder, and finds what an earlier life of the node left there.
  static Result<std::unique_ptr<LogDisk>> open(const std::string& directory);
  ~LogDisk();
  LogDisk(const LogDisk&) = delete;
  LogDisk& operator=(const LogDisk&) = delete;

  // Nothing is there: its node is of no cluster yet.
  bool is_empty() const { return identity_.life == 0; }
  const LogIdentity& identity() const { return identity_; }
  const raft::PersistentState& found(std::uint32_t shard = 0) const { return logs_[shard]->found; }
  const std::string& path() const { return files_->path(); }
  std::string durable_path() const { return path() + "/durable"; }  // of DurableDisk

  // One of these before start(): another life of the node that was here; or another node, `founding` being what it has
  // at first of the log of each shard. What was here is deleted then. `contacts`: where others of its cluster are,
  // until the log says it.
  Result<> begin_again();
  Result<> begin_anew(const LogIdentity& who, std::span<const raft::PersistentState> founding,
                      const std::vector<std::string>& contacts = {});
  Result<std::vector<std::string>> contacts() { return files_->contacts(); }
  bool has_begun_anew() const { return identity_.life == 1; }

  void start(const std::function<DiskEvents(std::uint32_t shard)>& events_of);
  void write(std::uint32_t shard, raft::Persist persist) { logs_[shard]->writer->write(std::move(persist)); }
  // The node has left its cluster: when this ends, the folder is empty.
  void forget_at_end() { forgets_ = true; }

 private:
  // Of one shard.
  struct Log {
    std::unique_ptr<LogDirectory> own_files;  // null: those of the folder
    std::unique_ptr<raft::Store> store;
    raft::PersistentState found;
    std::optional<DiskWriter> writer;  // the last: it uses the others
  };

  explicit LogDisk(std::unique_ptr<LogDirectory> files) : files_(std::move(files)) {}
  Result<> recover();
  Result<> open_logs();
  Result<> open_log(std::uint32_t shard);
  Result<> delete_all();
  std::string shard_path(std::uint32_t shard) const { return fmt::format("{}/shard-{}", path(), shard); }

  const std::unique_ptr<LogDirectory> files_;
  LogIdentity identity_;
  bool forgets_ = false;
  std::vector<std::unique_ptr<Log>> logs_;  // the last: they use the others
};

}  // namespace gallocy::runtime
