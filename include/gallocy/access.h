// What a thread may do with a page, or wants to.
#pragma once

#include <cstdint>

namespace gallocy {

enum class Access : std::uint8_t { kNone, kRead, kWrite };

}  // namespace gallocy
