#include "runtime/waiting.h"

#include <algorithm>

#include "os/clock.h"

namespace gallocy::runtime {
namespace {

// A thread that polls for itself looks after the node's timers at least this often, and so does the loop thread.
constexpr std::int64_t kLongestPollUs = 1'000;
constexpr std::int64_t kLongestServeUs = 20'000;

}  // namespace

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
  if (mesh_ == nullptr || !mesh_->try_claim()) return flag.sleep(deadline_ns);
  std::int64_t next_us = 0;
  while (!flag.is_set()) {
    const std::int64_t now_ns = os::monotonic_ns();
    if (now_ns >= deadline_ns) break;
    const std::int64_t left_us = deadline_ns == os::kNoDeadline ? kLongestPollUs : (deadline_ns - now_ns) / 1000 + 1;
    mesh_->poll(sink_, std::chrono::microseconds(std::min({kLongestPollUs, left_us, next_us})));
    if (!flag.is_set()) next_us = housekeeping_();
  }
  mesh_->release();
  if (housekeeping_() < kLongestServeUs) mesh_->wake();
  return flag.is_set();
}

void Waiting::serve() {
  const std::int64_t next_us = housekeeping_();
  mesh_->serve(sink_, std::chrono::microseconds(std::min(kLongestServeUs, next_us)));
}

}  // namespace gallocy::runtime
