#include "runtime/waiting.h"

#include <algorithm>
#include <limits>

#include "os/clock.h"

namespace gallocy::runtime {
namespace {

// A thread that polls for itself looks after the node's timers at least this often, and so does the loop thread.
constexpr std::int64_t kLongestPollUs = 1'000;
constexpr std::int64_t kLongestServeUs = 20'000;
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

// In page faults, too, so its memory must be there without an allocation at first use.
[[gnu::tls_model("initial-exec")]] thread_local bool t_may_poll = true;

}  // namespace

void Waiting::may_poll(bool may) { t_may_poll = may; }

bool WaitFlag::sleep(std::int64_t deadline_ns) {
  std::uint32_t expected = kClear;
  state_.compare_exchange_strong(expected, kSleeping, std::memory_order_acq_rel);
  while (state_.load(std::memory_order_acquire) != kSet) {
    if (os::futex_wait(state_, kSleeping, os::FutexScope::kPrivate, deadline_ns) == os::FutexWait::kTimedOut) {
      expected = kSleeping;
      return !state_.compare_exchange_strong(expected, kClear, std::memory_order_acq_rel);
    }
  }
  return true;
}

bool Waiting::wait(WaitFlag& flag, std::int64_t deadline_ns) {
  if (flag.is_set()) return true;
  return claim() ? poll_until_set(flag, deadline_ns) : flag.sleep(deadline_ns);
}

void Waiting::pause_until(std::int64_t ns) {
  WaitFlag never;
  (void)wait(never, ns);
}

bool Waiting::ask_and_wait(const std::function<void()>& ask, WaitFlag& flag, std::int64_t deadline_ns) {
  const bool claimed = claim();
  ask();
  return claimed ? poll_until_set(flag, deadline_ns) : flag.sleep(deadline_ns);
}

bool Waiting::claim() { return mesh_ != nullptr && t_may_poll && mesh_->try_claim(); }

bool Waiting::poll_until_set(WaitFlag& flag, std::int64_t deadline_ns) {
  std::int64_t next_us = 0;
  while (!flag.is_set()) {
    const std::int64_t now_ns = os::monotonic_ns();
    if (now_ns >= deadline_ns) break;
    const std::int64_t left_us = deadline_ns == os::kNoDeadline ? kLongestPollUs : (deadline_ns - now_ns) / 1000 + 1;
    mesh_->poll(sink_, std::chrono::microseconds(std::min({kLongestPollUs, left_us, next_us})));
    if (!flag.is_set()) next_us = housekeeping_();
  }
  mesh_->release();
  nudge(housekeeping_());
  return flag.is_set();
}

void Waiting::serve() {
  serves_at_ns_.store(kNever);
  const std::int64_t sleep_us = std::min(kLongestServeUs, housekeeping_());
  (void)serves_by(os::monotonic_ns() + sleep_us * 1000);
  mesh_->serve(sink_, std::chrono::microseconds(sleep_us));
}

void Waiting::nudge(std::int64_t due_us) {
  if (mesh_ == nullptr || due_us >= kLongestServeUs) return;
  const std::int64_t due_ns = os::monotonic_ns() + due_us * 1000;
  if (serves_by(due_ns)) mesh_->wake_at(due_ns);
}

// False: it does anyway.
bool Waiting::serves_by(std::int64_t ns) {
  std::int64_t planned = serves_at_ns_.load();
  while (ns < planned) {
    if (serves_at_ns_.compare_exchange_weak(planned, ns)) return true;
  }
  return false;
}

}  // namespace gallocy::runtime
