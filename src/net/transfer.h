// What a read or write that does not wait came to.
#pragma once

#include <cstddef>

namespace gallocy::net {

struct Transfer {
  std::size_t bytes = 0;        // moved; 0: none can be moved now
  const char* ended = nullptr;  // why no more ever can be; a constant
};

}  // namespace gallocy::net
