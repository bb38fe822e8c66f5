// Mutex: a lock between the threads of this process that the fault path may take in a signal handler.
//
// A std::mutex may not be used there: its implementation belongs to the C library, whose state the interrupted code may
// be in the middle of. This one is a futex word with three states (Drepper, "Futexes are tricky", mutex 3): an
// uncontended lock or unlock is one atomic instruction, a contended one spins briefly, then sleeps.
//
// Whoever holds one that a fault handler takes must neither touch global memory nor be interrupted by a signal handler
// that does: the fault would wait for its own thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/thread_annotations.h"
#include "os/futex.h"

namespace gallocy::os {

class CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() ACQUIRE() {
    std::uint32_t state = kFree;
    if (!state_.compare_exchange_strong(state, kHeld, std::memory_order_acquire)) lock_contended(kNoDeadline);
  }
  bool try_lock() TRY_ACQUIRE(true) {
    std::uint32_t state = kFree;
    return state_.compare_exchange_strong(state, kHeld, std::memory_order_acquire);
  }
  // Gives up, and returns false, when monotonic_ns() reaches the deadline.
  bool try_lock_until(std::int64_t deadline_ns) TRY_ACQUIRE(true) { return try_lock() || lock_contended(deadline_ns); }
  void unlock() RELEASE() {
    if (state_.exchange(kFree, std::memory_order_release) == kHeldWithSleepers) {
      futex_wake(state_, 1, FutexScope::kPrivate);
    }
  }

 private:
  enum State : std::uint32_t { kFree, kHeld, kHeldWithSleepers };
  bool lock_contended(std::int64_t deadline_ns) NO_THREAD_SAFETY_ANALYSIS;  // true: it is held
  std::atomic<std::uint32_t> state_{kFree};
};

// Holds a mutex for the length of a block.
class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace gallocy::os
