// Cluster-wide synchronisation with the names and meaning of the standard library, usable from any thread of any node;
// std::scoped_lock, std::unique_lock, std::shared_lock and std::lock_guard work on them.
//
// An object is made in one of two ways:
//   by name     gallocy::mutex m("queue");  any node that uses the name means the same object
//   in memory   an object constructed in global memory (a field of a shared struct) by one node, used by all
// Objects are small handles (8 to 16 bytes) and hold no pointers; the state lives with the object's home node. Copies
// are not allowed, destroying one frees nothing that others use.
//
// Every object is sequentially consistent with the memory around it: what a thread wrote before unlock() is seen by the
// thread whose lock() follows.
//
// Failure. The std-named functions have no way to return an error: if the home of the object died, or a wait can never
// end, they end the process with one line. The try_ and _for forms and the functions returning Result report it
// instead. A mutex whose holder died is granted with kOwnerDied by lock_robust(); lock() treats that as success.
//
// Example
//   gallocy::mutex m("totals");
//   { std::scoped_lock lock(m); *total += mine; }
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string_view>
#include <type_traits>

#include "gallocy/result.h"

namespace gallocy {

using Timeout = std::chrono::nanoseconds;
inline constexpr Timeout kForever = Timeout::max();

// What all objects are: a number that any node can resolve. Trivially destructible.
class SyncHandle {
 public:
  std::uint64_t id() const { return id_; }

 protected:
  SyncHandle();                                // a new object; this node must have joined
  explicit SyncHandle(std::string_view name);  // 1 … 255 bytes
  SyncHandle(const SyncHandle&) = delete;
  SyncHandle& operator=(const SyncHandle&) = delete;
  ~SyncHandle() = default;

 private:
  std::uint64_t id_;
};

// Not recursive. The token stays at the last holder's node, so that locking again costs no message until another node
// asks.
class mutex : public SyncHandle {
 public:
  mutex() = default;
  explicit mutex(std::string_view name) : SyncHandle(name) {}
  void lock();
  bool try_lock();
  void unlock();
  bool try_lock_for(Timeout timeout);
  Result<> lock_robust(
      Timeout timeout = kForever);  // kOwnerDied: locked, but the last holder died; kTimeout; kPeerLost
};

class shared_mutex : public SyncHandle {
 public:
  shared_mutex() = default;
  explicit shared_mutex(std::string_view name) : SyncHandle(name) {}
  void lock();
  bool try_lock();
  void unlock();
  void lock_shared();
  bool try_lock_shared();
  void unlock_shared();
  Result<> lock_robust(Timeout timeout = kForever);
};

enum class cv_status : std::uint8_t { no_timeout, timeout };

class condition_variable : public SyncHandle {
 public:
  condition_variable() = default;
  explicit condition_variable(std::string_view name) : SyncHandle(name) {}
  void notify_one();
  void notify_all();
  void wait(std::unique_lock<mutex>& lock);
  cv_status wait_for(std::unique_lock<mutex>& lock, Timeout timeout);
  template <typename Predicate>
  void wait(std::unique_lock<mutex>& lock, Predicate done) {
    while (!done()) wait(lock);
  }
  template <typename Predicate>
  bool wait_for(std::unique_lock<mutex>& lock, Timeout timeout, Predicate done) {
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    while (!done()) {
      const auto left = deadline - std::chrono::steady_clock::now();
      if (left <= Timeout::zero() || wait_for(lock, left) == cv_status::timeout) return done();
    }
    return true;
  }
};

// Counting semaphore. The initial count is that of the first use of the name.
class semaphore : public SyncHandle {
 public:
  explicit semaphore(std::uint32_t initial) : initial_(initial) {}
  semaphore(std::string_view name, std::uint32_t initial) : SyncHandle(name), initial_(initial) {}
  void acquire();
  bool try_acquire_for(Timeout timeout);
  void release(std::uint32_t update = 1);

 private:
  std::uint32_t initial_;
};

// Reusable barrier of `expected` threads, wherever they run. Node::barrier() is the faster one for one thread per node.
class barrier : public SyncHandle {
 public:
  explicit barrier(std::uint32_t expected) : expected_(expected) {}
  barrier(std::string_view name, std::uint32_t expected) : SyncHandle(name), expected_(expected) {}
  void arrive_and_wait();
  Result<> arrive_and_wait_for(
      Timeout timeout);  // kTimeout leaves the barrier unusable, as in POSIX there is no way back

 private:
  std::uint32_t expected_;
};

class latch : public SyncHandle {
 public:
  explicit latch(std::uint32_t expected) : expected_(expected) {}
  latch(std::string_view name, std::uint32_t expected) : SyncHandle(name), expected_(expected) {}
  void count_down(std::uint32_t update = 1);
  bool try_wait();
  void wait();
  bool wait_for(Timeout timeout);

 private:
  std::uint32_t expected_;
};

class once_flag : public SyncHandle {
 public:
  once_flag() = default;
  explicit once_flag(std::string_view name) : SyncHandle(name) {}
  // Runs f on exactly one thread of the cluster; all others return after it has returned. If the runner's node dies,
  // another runs it.
  void call(const std::function<void()>& f);
};
inline void call_once(once_flag& flag, const std::function<void()>& f) { flag.call(f); }

namespace sync_detail {
enum class AtomicOperation : std::uint8_t {
  kLoad,
  kStore,
  kExchange,
  kAdd,
  kSubtract,
  kAnd,
  kOr,
  kXor,
  kCompareExchange
};
// Executes the operation at the home of the address's page; width is 4 or 8. Returns the value before it.
std::uint64_t remote_atomic(void* address, unsigned width, AtomicOperation operation, std::uint64_t operand,
                            std::uint64_t expected);
}  // namespace sync_detail

// Operations on a word of global memory, carried out at the home of its page: one round trip, and the page does not
// move. For counters that many nodes hit. Plain std::atomic_ref works on global memory too and moves the page instead;
// the two may be mixed on one word.
template <typename T>
requires(std::is_integral_v<T> && (sizeof(T) == 4 || sizeof(T) == 8)) class atomic_ref {
 public:
  explicit atomic_ref(T& word) : word_(&word) {}
  T load() const { return run(sync_detail::AtomicOperation::kLoad, 0); }
  void store(T value) const { run(sync_detail::AtomicOperation::kStore, value); }
  T exchange(T value) const { return run(sync_detail::AtomicOperation::kExchange, value); }
  T fetch_add(T value) const { return run(sync_detail::AtomicOperation::kAdd, value); }
  T fetch_sub(T value) const { return run(sync_detail::AtomicOperation::kSubtract, value); }
  T fetch_and(T value) const { return run(sync_detail::AtomicOperation::kAnd, value); }
  T fetch_or(T value) const { return run(sync_detail::AtomicOperation::kOr, value); }
  T fetch_xor(T value) const { return run(sync_detail::AtomicOperation::kXor, value); }
  bool compare_exchange_strong(T& expected, T desired) const {
    const T before = run(sync_detail::AtomicOperation::kCompareExchange, desired, expected);
    if (before == expected) return true;
    expected = before;
    return false;
  }

 private:
  T run(sync_detail::AtomicOperation operation, T operand, T expected = 0) const {
    return static_cast<T>(sync_detail::remote_atomic(word_, sizeof(T), operation, static_cast<std::uint64_t>(operand),
                                                     static_cast<std::uint64_t>(expected)));
  }
  T* word_;
};

}  // namespace gallocy
