// Threads that one node starts on another.
#pragma once

#include <cstdint>

namespace gallocy::wire {

struct ThreadStart {
  std::uint64_t ticket = 0;         // of the starter, given back in ThreadEnd
  std::uint64_t entry_offset = 0;   // of the entry function from the program's load address
  std::uint32_t closure_bytes = 0;  // that follow: the callable and its arguments
  std::uint32_t reserved = 0;
};
static_assert(sizeof(ThreadStart) == 24);

enum class ThreadStatus : std::uint32_t { kReturned, kNotStarted };

struct ThreadEnd {
  std::uint64_t ticket = 0;
  ThreadStatus status = ThreadStatus::kReturned;
  std::uint32_t result_bytes = 0;  // that follow
};
static_assert(sizeof(ThreadEnd) == 16);

}  // namespace gallocy::wire
