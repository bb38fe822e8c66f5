// Monotonic time (CLOCK_MONOTONIC through the vDSO: about 25 ns, async-signal-safe).
#pragma once

#include <time.h>

#include <cstdint>

namespace gallocy::os {

inline std::int64_t monotonic_ns() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// Processor time of the calling thread: a system call, some 200 ns.
inline std::int64_t thread_processor_ns() {
  timespec used;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return std::int64_t{used.tv_sec} * 1'000'000'000 + used.tv_nsec;
}

inline std::int64_t monotonic_us() { return monotonic_ns() / 1000; }

}  // namespace gallocy::os
