#include "os/mutex.h"

namespace gallocy::os {

bool Mutex::lock_contended(std::int64_t deadline_ns) {
  // About 2 us: as long as the short critical sections this lock is for, and less than a sleep and a wake-up cost.
  constexpr int kSpins = 50;
  for (int i = 0; i < kSpins; ++i) {
    __builtin_ia32_pause();
    if (state_.load(std::memory_order_relaxed) == kFree && try_lock()) return true;
  }
  // From here on the word says that somebody may sleep, which costs the next unlock at worst one needless wake.
  while (state_.exchange(kHeldWithSleepers, std::memory_order_acquire) != kFree) {
    const FutexWait end = futex_wait(state_, kHeldWithSleepers, FutexScope::kPrivate, deadline_ns);
    if (end == FutexWait::kTimedOut) return false;
  }
  return true;
}

}  // namespace gallocy::os
