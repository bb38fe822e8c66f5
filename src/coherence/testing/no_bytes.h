// Frames of a core whose messages are looked at, and not what is in its pages.
#pragma once

#include "coherence/core.h"

namespace gallocy::coherence {

struct NoBytes : Frames {
  std::uint64_t checksum(PageId) override { return 0; }
};

}  // namespace gallocy::coherence
