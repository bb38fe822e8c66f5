// Sleeping on a 32-bit word until another thread changes it and wakes the sleepers. Async-signal-safe; errno is kept.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

namespace gallocy::os {

// kPrivate: all sleepers are threads of this process. kShared: the word lies in memory shared between processes.
enum class FutexScope : std::uint8_t { kPrivate, kShared };
// kWoken may be spurious (a signal handler ran): look at the word again.
enum class FutexWait : std::uint8_t { kWoken, kChanged, kTimedOut };

inline constexpr std::int64_t kNoDeadline = std::numeric_limits<std::int64_t>::max();

// Sleeps while the word equals `expected`, until woken or until monotonic_ns() reaches the deadline.
FutexWait futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected, FutexScope scope,
                     std::int64_t deadline_ns = kNoDeadline);

// Wakes at most `sleepers` threads; returns how many.
unsigned futex_wake(const std::atomic<std::uint32_t>& word, unsigned sleepers, FutexScope scope);
inline constexpr unsigned kAllSleepers = std::numeric_limits<int>::max();

}  // namespace gallocy::os
