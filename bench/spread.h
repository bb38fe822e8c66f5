// What a raw measurement gives: the median of its samples, and their quartiles.
#pragma once

namespace gallocy::bench {

struct Spread {
  double median = 0, p25 = 0, p75 = 0;
};

}  // namespace gallocy::bench
