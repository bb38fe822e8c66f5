// LogDisk: a node's log on disk, and the thread that writes it. What the log asks to persist is written in its order,
// all that has come meanwhile at once (group commit), so nobody waits for the disk but those who are owed an answer.
//
// A full disk: nothing is acknowledged until there is room again; it is tried again and again. Any other failure ends
// the node, as nobody knows then what is on the disk.
//
// Threads: write() by any thread, one at a time. The callbacks come from the thread of this object, which its
// destructor ends.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

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
  ~LogDisk();
  LogDisk(const LogDisk&) = delete;
  LogDisk& operator=(const LogDisk&) = delete;

  std::uint64_t cluster() const { return identity_.cluster; }
  std::uint64_t life() const { return identity_.life; }
  bool founds() const { return identity_.life == 1; }  // nothing was there
  const raft::PersistentState& found() const { return found_; }
  const std::string& path() const { return files_->path(); }

  struct Events {
    std::function<void(std::uint64_t sequence)> written;  // this write and all before it are on disk
    std::function<void()> full;
  };
  void start(Events events);
  void write(raft::Persist persist);

 private:
  explicit LogDisk(LogDiskOptions options) : options_(std::move(options)) {}
  Result<> recover();
  Result<> found_anew();
  Result<> open_store();
  void run();
  bool write_out(const std::vector<raft::Persist>& writes);
  bool wait_for_room();

  const LogDiskOptions options_;
  std::unique_ptr<LogDirectory> files_;
  std::unique_ptr<raft::Store> store_;
  LogIdentity identity_;
  raft::PersistentState found_;
  Events events_;

  std::mutex mu_;
  std::condition_variable changed_;
  std::vector<raft::Persist> waiting_;  // guarded by mu_
  bool stop_ = false;                   // guarded by mu_
  std::thread thread_;
};

}  // namespace gallocy::runtime
