// SyncService: the synchronisation core (src/sync) with its lock, its waiting threads and its messages.
//
// Threads: any thread of the program; frame_arrived on the poller. No function is called in the fault path, but the
// poller may be a thread that waits for a page.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string_view>
#include <unordered_map>

#include "base/result.h"
#include "gallocy/node.h"
#include "gallocy/sync.h"
#include "net/mesh.h"
#include "os/clock.h"
#include "os/mutex.h"
#include "runtime/waiting.h"
#include "sync/core.h"

namespace gallocy::runtime {

class SyncService {
 public:
  SyncService(const sync::Options& options, net::Mesh* mesh);
  void set_waiting(Waiting& waiting) { waiting_ = &waiting; }

  sync::SyncId fresh_id();

  // Calls start(core, waiter, effects) and, if its outcome is kPending, waits for the wake; gives up at the timeout by
  // calling Core::cancel(id). The outcome is never kPending. kPeerLost tells the program of all deaths so far.
  template <typename Start>
  sync::Outcome run(sync::SyncId id, Timeout timeout, Start start);
  Result<> meet();

  bool frame_arrived(NodeId from, wire::MessageType type, std::span<const std::byte> body);
  void node_joined(NodeId node);
  void node_died(NodeId node);
  void node_left(NodeId node);
  // In an open cluster, after each change of its members; without effect before introduce().
  void homes_move(const sync::HomesMoved& moved);
  // Before this node leaves: has the homes of locks that it keeps take them back. Returns how many there are, with
  // those that it waits for.
  std::size_t give_back();
  // Nothing that this node was the home of depends on it any more.
  bool has_no_homes();
  // This node has joined an open cluster: these were there before it.
  void introduce(const std::vector<NodeId>& gone, const sync::HomesMoved& moved);
  void tick();
  void add_statistics(Statistics& statistics);

 private:
  struct Waiter {
    alignas(8) WaitFlag flag{};
    sync::Outcome outcome = sync::Outcome::kPending;
  };
  static sync::WaiterId id_of(Waiter& waiter) { return sync::WaiterId{reinterpret_cast<std::uint64_t>(&waiter)}; }
  void carry_out() REQUIRES(mu_);
  bool take_back(const wire::SyncRecall& recall) REQUIRES(mu_);
  void put_down(const wire::SyncRecall& recall) REQUIRES(mu_);

  const NodeId self_;
  net::Mesh* const mesh_;
  Waiting* waiting_ = nullptr;
  std::atomic<std::uint64_t> next_serial_{1};
  std::atomic<std::uint64_t> barriers_{0};

  os::Mutex mu_;
  sync::Core core_ GUARDED_BY(mu_);
  sync::Effects effects_ GUARDED_BY(mu_);
  // Locks that this node takes back from one that leaves, by their waiter.
  std::unordered_map<std::uint64_t, wire::SyncRecall> recalls_ GUARDED_BY(mu_);
  std::uint64_t next_recall_ GUARDED_BY(mu_) = 1;  // odd: no address of a Waiter
};

template <typename Start>
sync::Outcome SyncService::run(sync::SyncId id, Timeout timeout, Start start) {
  Waiter waiter;
  {
    const os::MutexLock lock(mu_);
    const sync::Outcome outcome = start(core_, id_of(waiter), effects_);
    if (!effects_.empty()) carry_out();
    if (outcome == sync::Outcome::kPeerLost) core_.acknowledge_losses();
    if (outcome != sync::Outcome::kPending) return outcome;
  }
  const std::int64_t deadline =
      timeout == kForever ? os::kNoDeadline : os::monotonic_ns() + std::max<std::int64_t>(timeout.count(), 0);
  if (!waiting_->wait(waiter.flag, deadline)) {
    {
      const os::MutexLock lock(mu_);
      const sync::Outcome outcome = core_.cancel(id, id_of(waiter), effects_);
      carry_out();
      if (outcome != sync::Outcome::kPending) return outcome;
    }
    (void)waiting_->wait(waiter.flag);
  }
  if (waiter.outcome == sync::Outcome::kPeerLost) {
    const os::MutexLock lock(mu_);
    core_.acknowledge_losses();
  }
  return waiter.outcome;
}

}  // namespace gallocy::runtime
