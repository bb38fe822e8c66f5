// Poller: receives from all links of a node, by one thread at a time, and sleeps where there is nothing. The role of
// the poller is explained in mesh.h.
//
// How the role passes. Who holds role_mu_ is the poller. A thread that waits for an answer sets claimed_ and then takes
// the lock, which the loop thread gives up when it sees claimed_. The loop thread sleeps on outer_, which watches
// inner_ (the epoll set of all links) only while nobody has claimed the role: so arriving frames do not wake it while
// another thread polls, and the change of the interest at the release looks for those that have come meanwhile.
//
// Lock order: role_mu_ is held while sinks are called, so it comes before any lock that a sink takes. A thread that
// holds such a lock must not claim.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_annotations.h"
#include "net/link.h"
#include "net/mesh.h"
#include "net/socket.h"
#include "os/mutex.h"

namespace gallocy::net {

class Poller {
 public:
  Poller(LinkKind links, std::chrono::microseconds spin, std::chrono::microseconds loop_spin);

  // For the links.
  int epoll() const { return inner_.get(); }
  int doorbell() const { return doorbell_.get(); }  // shm: what peers ring
  bool* more_follows() { return &more_follows_; }

  // Links outlive the poller. add: not while anybody polls. add_later: the poller takes the link over in its next turn,
  // and says so (FrameSink::peer_up).
  void add(Link& link);
  void add_later(Link& link);

  // As in mesh.h.
  void serve(FrameSink& sink, std::chrono::microseconds timeout);
  bool try_claim() NO_THREAD_SAFETY_ANALYSIS;  // the lock outlives the call
  bool poll(FrameSink& sink, std::chrono::microseconds timeout);
  void release();
  void wake();
  void wake_at(std::int64_t ns);
  void close(std::chrono::milliseconds timeout);

  // For the calling thread, when it sends: whether it may wait for room, and whether the answer may be gathered with
  // those to the frames behind the one that is being delivered. The loop thread must not wait even between two calls of
  // serve(), as nobody would receive meanwhile.
  Caller caller() const;
  Gather gather() const NO_THREAD_SAFETY_ANALYSIS;  // who is the poller holds the lock

 private:
  bool is_poller() const;
  void check_role() const ASSERT_CAPABILITY(role_mu_);
  bool loop_must_stop() const {
    return claimed_.load(std::memory_order_relaxed) || wake_.load(std::memory_order_relaxed);
  }
  bool serve_once(FrameSink& sink, std::int64_t spin_until_ns, bool woken);
  bool sleep_on_outer(std::int64_t timeout_ns);

  void adopt(FrameSink& sink) REQUIRES(role_mu_);
  void take_in(Link& link) REQUIRES(role_mu_);
  void take_role() REQUIRES(role_mu_);
  void give_role() REQUIRES(role_mu_);
  void watch_links(bool wanted) REQUIRES(role_mu_);
  bool may_sleep() REQUIRES(role_mu_);
  void awake() REQUIRES(role_mu_);
  bool spin(FrameSink& sink, std::int64_t until_ns, bool is_loop) REQUIRES(role_mu_);
  bool deliver(FrameSink& sink) REQUIRES(role_mu_);
  bool deliver_from_all(FrameSink& sink) REQUIRES(role_mu_);
  bool deliver_from_ready(FrameSink& sink, std::int64_t timeout_ns) REQUIRES(role_mu_);
  bool after_delivery(bool any) REQUIRES(role_mu_);

  // Constant after construction.
  const std::int64_t spin_ns_, loop_spin_ns_;
  const bool is_shm_;
  Fd inner_, outer_, wake_event_, wake_timer_, doorbell_;

  os::Mutex role_mu_;
  std::atomic<bool> claimed_{false};
  std::atomic<bool> wake_{false};
  std::atomic<const void*> poller_{nullptr};  // names the thread that holds the role
  std::atomic<const void*> loop_{nullptr};    // names the loop thread

  os::Mutex newcomers_mu_;
  std::vector<Link*> newcomers_ GUARDED_BY(newcomers_mu_);
  std::atomic<bool> has_newcomers_{false};

  std::vector<Link*> live_ GUARDED_BY(role_mu_);     // links that are not over
  bool polls_directly_ GUARDED_BY(role_mu_) = true;  // looks at every link in every turn, not at those that epoll names
  bool loop_watches_ GUARDED_BY(role_mu_) = true;    // outer_ has inner_
  bool more_follows_ GUARDED_BY(role_mu_) = false;   // see FrameReader
  std::int64_t last_frame_ns_ GUARDED_BY(role_mu_) = 0;
  std::int64_t claimed_at_ns_ GUARDED_BY(role_mu_) = 0;
  unsigned turn_ GUARDED_BY(role_mu_) = 0;
};

}  // namespace gallocy::net
