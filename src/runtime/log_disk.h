// LogDisk: a node's part of the VMM log on disk: whose it is, what was found there, and who writes it.
//
// Threads: as DiskWriter.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
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
  const raft::PersistentState& found() const { return found_; }
  const std::string& path() const { return files_->path(); }
  std::string durable_path() const { return path() + "/durable"; }  // of DurableDisk

  // One of these before start(): another life of the node that was here; or another node, `founding` being what it has
  // at first. What was here is deleted then. `contacts`: where others of its cluster are, until the log says it.
  Result<> begin_again();
  Result<> begin_anew(const LogIdentity& who, const raft::PersistentState& founding,
                      const std::vector<std::string>& contacts = {});
  Result<std::vector<std::string>> contacts() { return files_->contacts(); }
  bool has_begun_anew() const { return identity_.life == 1; }

  void start(DiskEvents events) { writer_->start(std::move(events)); }
  void write(raft::Persist persist) { writer_->write(std::move(persist)); }
  // The node has left its cluster: when this ends, the folder is empty.
  void forget_at_end() { forgets_ = true; }

 private:
  explicit LogDisk(std::unique_ptr<LogDirectory> files) : files_(std::move(files)) {}
  Result<> recover();
  Result<> open_store();
  Result<> delete_all();

  const std::unique_ptr<LogDirectory> files_;
  std::unique_ptr<raft::Store> store_;
  LogIdentity identity_;
  raft::PersistentState found_;
  bool forgets_ = false;
  std::optional<DiskWriter> writer_;  // the last: it uses the others
};

}  // namespace gallocy::runtime
