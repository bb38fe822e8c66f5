// A system call of the program, as it came.
#pragma once

#include <cstdint>

namespace gallocy::personality {

struct Call {
  long number = 0;
  long arguments[6] = {};
};

inline std::uint64_t argument(const Call& call, int i) { return static_cast<std::uint64_t>(call.arguments[i]); }

}  // namespace gallocy::personality
