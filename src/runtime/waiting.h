// Waiting: how a thread waits for something that another node has to send.
//
// The waiting thread takes over the poller's role of the mesh if it is free and receives for itself, so that the answer
// is not delayed by a hand-over between threads (about half of a round trip). Otherwise it sleeps until the poller sets
// its flag.
//
// Usable in a signal handler (the fault path): nothing here is shared with code that a fault can interrupt.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "net/mesh.h"
#include "os/futex.h"

namespace gallocy::runtime {

// Set once by one thread, waited for by one other. reset() to use it again, when no thread waits or sets.
class WaitFlag {
 public:
  bool is_set() const { return state_.load(std::memory_order_acquire) == kSet; }
  void set() {
    if (state_.exchange(kSet, std::memory_order_acq_rel) == kSleeping) {
      os::futex_wake(state_, 1, os::FutexScope::kPrivate);
    }
  }
  void reset() { state_.store(kClear, std::memory_order_relaxed); }
  // False at the deadline (os::monotonic_ns).
  bool sleep(std::int64_t deadline_ns);

 private:
  enum State : std::uint32_t { kClear, kSleeping, kSet };
  std::atomic<std::uint32_t> state_{kClear};
};

class Waiting {
 public:
  // housekeeping: what the poller does between frames; returns in how many microseconds it wants to be called again.
  // mesh: null in a cluster of one.
  Waiting(net::Mesh* mesh, net::FrameSink& sink, std::function<std::int64_t()> housekeeping)
      : mesh_(mesh), sink_(sink), housekeeping_(std::move(housekeeping)) {}

  // Until the flag is set; false at the deadline.
  bool wait(WaitFlag& flag, std::int64_t deadline_ns = os::kNoDeadline);
  // Until then (os::monotonic_ns), whatever comes.
  void pause_until(std::int64_t ns);
  // `ask` sends what will be answered. It runs when this thread has the role, if it gets it: of several messages the
  // first answer may come while the last is being sent, and would wake the loop thread.
  bool ask_and_wait(const std::function<void()>& ask, WaitFlag& flag, std::int64_t deadline_ns);
  // Whether the calling thread may take over the poller's role: not while it stands for another process (vfork), as
  // what the poller starts would end with that one.
  static void may_poll(bool may);
  // One turn of the loop thread.
  void serve();
  // Work for the poller has come up that is due in so many microseconds: it should not sleep longer.
  void nudge(std::int64_t due_us = 0);

 private:
  bool claim();
  bool poll_until_set(WaitFlag& flag, std::int64_t deadline_ns);
  bool serves_by(std::int64_t ns);

  net::Mesh* const mesh_;
  net::FrameSink& sink_;
  const std::function<std::int64_t()> housekeeping_;
  std::atomic<std::int64_t> serves_at_ns_{0};  // when the loop thread's next turn begins at the latest
};

}  // namespace gallocy::runtime
