// LogDisk: a node's part of the VMM log on disk: whose it is, what was found there, and who writes it.
//
// Threads: as DiskWriter.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "runtime/disk_writer.h"
#include "runtime/log_directory.h"

namespace gallocy::runtime {

struct LogDiskOptions {
  std::string directory;
  NodeId self{};
  std::uint16_t nodes = 0;
  std::uint64_t new_cluster = 0;   // what all call the cluster if it is founded now
  raft::PersistentState founding;  // what this node has then
};

class LogDisk {
 public:
  // Finds what is there, and begins another life of this node.
  static Result<std::unique_ptr<LogDisk>> open(LogDiskOptions options);
  LogDisk(const LogDisk&) = delete;
  LogDisk& operator=(const LogDisk&) = delete;

  std::uint64_t cluster() const { return identity_.cluster; }
  std::uint64_t life() const { return identity_.life; }
  bool founds() const { return identity_.life == 1; }  // nothing was there
  const raft::PersistentState& found() const { return found_; }
  const std::string& path() const { return files_->path(); }

  void start(DiskEvents events) { writer_->start(std::move(events)); }
  void write(raft::Persist persist) { writer_->write(std::move(persist)); }

 private:
  explicit LogDisk(LogDiskOptions options) : options_(std::move(options)) {}
  Result<> recover();
  Result<> found_anew();
  Result<> open_store();

  const LogDiskOptions options_;
  std::unique_ptr<LogDirectory> files_;
  std::unique_ptr<raft::Store> store_;
  LogIdentity identity_;
  raft::PersistentState found_;
  std::optional<DiskWriter> writer_;  // the last: it uses the others
};

}  // namespace gallocy::runtime
