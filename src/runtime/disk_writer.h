// DiskWriter: the thread that writes a raft::Store. What it is given is written in its order, all that has come
// meanwhile at once (group commit), so nobody waits for the disk but those who are owed an answer.
//
// A full disk: it tries again and again until there is room. Any other failure ends the node, as nobody knows then what
// is on the disk.
//
// Threads: write() by any thread, one at a time, also before start(). The callbacks come from the thread of this
// object, which its destructor ends.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "raft/store.h"
#include "runtime/log_directory.h"

namespace gallocy::runtime {

struct DiskEvents {
  std::function<void(std::uint64_t sequence)> written;  // this write and all before it are on disk
  std::function<void()> full;
};

// What is in the folder, and in `found` what it holds. Tears that were mended go to the log. `if_damaged`: what to do
// then, for whoever reads the error.
Result<std::unique_ptr<raft::Store>> open_store(LogDirectory& files, NodeId self, raft::PersistentState& found,
                                                std::string_view if_damaged);

class DiskWriter {
 public:
  // `directory`: for whoever reads the lines about it.
  DiskWriter(raft::Store& store, std::string directory, NodeId self);
  ~DiskWriter();
  DiskWriter(const DiskWriter&) = delete;
  DiskWriter& operator=(const DiskWriter&) = delete;

  void start(DiskEvents events);
  void write(raft::Persist persist);

 private:
  void run();
  bool write_out(const std::vector<raft::Persist>& writes);
  bool wait_for_room();

  raft::Store& store_;
  const std::string directory_;
  const NodeId self_;
  DiskEvents events_;

  std::mutex mu_;
  std::condition_variable changed_;
  std::vector<raft::Persist> waiting_;  // guarded by mu_
  bool stop_ = false;                   // guarded by mu_
  std::thread thread_;
};

}  // namespace gallocy::runtime
