// What nodes tell each other at a steady pace.
#pragma once

#include <cstdint>

namespace gallocy::wire {

struct Heartbeat {
  std::uint64_t room_pages = 0;  // frames the sender may still take before it is over its budget
};
static_assert(sizeof(Heartbeat) == 8);

// To a member that leaves: its entry is known here, and what was sent before came first.
struct Farewell {
  std::uint32_t epoch = 0;  // of the log, as far as the sender has it
};
static_assert(sizeof(Farewell) == 4);

}  // namespace gallocy::wire
