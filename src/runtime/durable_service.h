// DurableService: durable memory (src/durable) with its lock, its waiting threads and its messages. It follows the
// VMM's log, which says who the members are and which regions are durable.
//
// Nobody waits for ever: a caller gets an outcome, or an error once this node cannot take part any more (stop()).
//
// Threads: any thread of the program; frame_arrived on the poller. Whoever holds mu_ must not touch global memory.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/result.h"
#include "durable/core.h"
#include "durable/held_effects.h"
#include "gallocy/node.h"
#include "net/mesh.h"
#include "os/mutex.h"
#include "runtime/durable_disk.h"
#include "runtime/durable_outcome.h"
#include "runtime/lease.h"
#include "runtime/waiting.h"
#include "vmm/machine.h"

namespace gallocy::runtime {

class DurableService {
 public:
  DurableService(NodeId self, net::Mesh* mesh) : self_(self), mesh_(mesh), lease_(self) {}
  void set_waiting(Waiting& waiting) { waiting_ = &waiting; }
  // What this node has of durable memory is also on disk: nothing that follows from it is done before. Before the log.
  void keep(std::unique_ptr<DurableDisk> disk);
  // Up to which the disk has what an earlier life of this node had; 0: nothing.
  Epoch kept() const { return disk_ != nullptr ? disk_->found().epoch : Epoch{}; }
  // From now on a start of this node goes on with what it had; without a disk there is nothing to wait for.
  bool journal_begun();

  struct Range {
    std::uint64_t address = 0;
    std::span<std::byte> to;  // private memory
  };
  // What was committed last, in each block at some moment of its own.
  Result<DurableOutcome> read(std::span<const Range> ranges);
  // As read(), of bytes of one block and for writing them (Await::kAll), for callers that do not wait. `then` is called
  // once, by any thread and perhaps at once, with mu_ held: it may neither wait nor call this.
  using Then = std::function<void(Result<DurableOutcome>)>;
  void fetch(Range range, Then then);
  // The bytes of the items are private memory.
  Result<DurableOutcome> commit(std::span<const durable::Item> items);
  class Commit;
  // As commit(), in two halves. finish() must be called; of one `commit`, once.
  void submit(Commit& commit, std::span<const durable::Item> items);
  Result<DurableOutcome> finish(Commit& commit);

  // The log has gone on. Called with the lock of Regions held, after every change.
  void follow(const vmm::Machine& machine);
  // This node cannot take part any more: whoever waits, now or later, gets the error.
  void stop(const Error& reason);
  // This node is about to leave: everything durable that it keeps is at others in its stead.
  bool may_leave();
  // This node is settling, and in this epoch everything is where it should be.
  bool may_go_on_settling(Epoch epoch);
  // Those that this node keeps and that were used, or came to it later.
  std::size_t kept_blocks();
  void connection_lost(NodeId peer);
  void connection_made(NodeId peer);

  // As net::FrameSink's; on the poller.
  // Of images, and of what becomes part of images or was: in this process.
  static std::uint64_t pages_in_use() { return durable::page_slots().in_use(); }

  std::size_t payload_target(NodeId from, const wire::FrameHeader& header, std::span<iovec, 64> target);
  bool frame_arrived(NodeId from, wire::MessageType type, std::span<const std::byte> body,
                     std::span<const std::byte> payload);
  void tick();  // every 100 ms or so
  // The end of a turn of the poller.
  void turn_ended() {
    if (turn_open_.load(std::memory_order_relaxed)) end_turn();
  }
  void add_statistics(Statistics& statistics);

 private:
  // A thread that waits for a commit, or for the reads of all its pieces; or what is to be done then.
  struct Waiter {
    WaitFlag flag;
    std::size_t open = 0;
    DurableOutcome outcome;
    bool stopped = false;
    Then then;
  };
  // What a read fetches from one block.
  struct Piece {
    Waiter* waiter = nullptr;
    Range range;
  };
  // Lives until its waiter has been told.
  struct Fetch {
    Waiter waiter;
    Piece piece;
  };

  Result<DurableOutcome> wait(Waiter& waiter);
  void begin(const vmm::Machine& machine) REQUIRES(mu_);
  void members_changed() REQUIRES(mu_);
  void carry_out() REQUIRES(mu_);
  void carry_out(const durable::Effects& effects) REQUIRES(mu_);
  void carry_out_written() REQUIRES(mu_);
  void send(const durable::Outgoing& outgoing) REQUIRES(mu_);
  void send_pages(NodeId to, const durable::Message& message) REQUIRES(mu_);
  std::vector<durable::SharedPage> take_arrived(NodeId from, wire::MessageType type);
  void ended(Waiter& waiter, durable::Outcome outcome, BlockId block) REQUIRES(mu_);
  void tell(Waiter& waiter) REQUIRES(mu_);
  void stop_locked(const Error& reason) REQUIRES(mu_);
  void ask_for_lease() REQUIRES(mu_);
  bool lease_news(NodeId from, wire::MessageType type, std::span<const std::byte> body) REQUIRES(mu_);
  void end_turn();

  const NodeId self_;
  net::Mesh* const mesh_;
  Waiting* waiting_ = nullptr;
  std::atomic<bool> turn_open_{false};  // something has been handed to the core since the last end of a turn

  // The poller's: of a frame of each node that is not whole yet.
  std::unordered_map<NodeId, std::vector<durable::SharedPage>> arriving_;

  os::Mutex mu_;
  std::optional<durable::Core> core_ GUARDED_BY(mu_);  // since the log has this node as a member
  Lease lease_ GUARDED_BY(mu_);
  std::optional<Error> stopped_ GUARDED_BY(mu_);
  std::vector<std::pair<NodeId, durable::Message>> early_ GUARDED_BY(mu_);  // before there is a core
  std::unordered_set<Waiter*> waiters_ GUARDED_BY(mu_);
  std::unordered_map<Waiter*, std::unique_ptr<Fetch>> fetches_ GUARDED_BY(mu_);
  RegionId next_region_ GUARDED_BY(mu_){1};  // the first that the core may not have
  durable::HeldEffects held_ GUARDED_BY(mu_);
  std::uint64_t last_write_ GUARDED_BY(mu_) = 0;
  std::uint64_t first_write_ GUARDED_BY(mu_) = 0;  // of the journal of this life, unless it goes on with the last one's
  std::uint64_t commits_ GUARDED_BY(mu_) = 0, conflicts_ GUARDED_BY(mu_) = 0;
  std::unique_ptr<DurableDisk> disk_;  // null: in memory only. The last: its thread uses the others
};

// One that was submitted. It stays where it is until it has been finished.
class DurableService::Commit {
 public:
  bool is_decided() const { return waiter_.flag.is_set(); }

 private:
  friend DurableService;
  Waiter waiter_{.open = 1};
};

}  // namespace gallocy::runtime
