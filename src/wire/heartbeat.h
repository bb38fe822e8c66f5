// What nodes tell each other at a steady pace.
#pragma once

#include <cstdint>

namespace gallocy::wire {

struct Heartbeat {
  std::uint64_t room_pages = 0;  // frames the sender may still take before it is over its budget
};
static_assert(sizeof(Heartbeat) == 8);

}  // namespace gallocy::wire
