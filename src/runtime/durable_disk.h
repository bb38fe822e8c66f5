// DurableDisk: the journal of durable memory (durable_journal.h) on disk, in a folder of its own. It is a raft::Store.
//
// Threads: one at a time, but for what DiskWriter says.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "durable/core.h"
#include "runtime/disk_writer.h"
#include "runtime/durable_journal.h"
#include "runtime/log_directory.h"

namespace gallocy::runtime {

class DurableDisk {
 public:
  // kProtocol: what was durable is damaged.
  static Result<std::unique_ptr<DurableDisk>> open(const std::string& directory, NodeId self);

  // What the node had when it ended; its epoch is 0 if there is nothing.
  const durable::Kept& found() const { return found_; }
  durable::Kept take_found() { return std::exchange(found_, {}); }

  void start(DiskEvents events) { writer_->start(std::move(events)); }
  // Begins to write them; the number of the write.
  std::uint64_t write(const std::vector<durable::Note>& notes);
  // In place of all that was written: that of the core, all of whose notes have been written.
  std::uint64_t write_anew(const durable::Core& core);
  bool has_grown() const { return journal_.has_grown(); }

 private:
  DurableDisk(std::unique_ptr<LogDirectory> files, NodeId self)
      : files_(std::move(files)), self_(self), journal_(self) {}
  Result<> recover();
  std::uint64_t write(raft::Persist persist);

  const std::unique_ptr<LogDirectory> files_;
  const NodeId self_;
  std::unique_ptr<raft::Store> store_;
  DurableJournal journal_;
  durable::Kept found_;
  std::optional<DiskWriter> writer_;  // the last: it uses the others
};

}  // namespace gallocy::runtime
