// Random entries for tests: mostly sensible, often enough refused.
#pragma once

#include <string>
#include <vector>

#include "base/prng.h"
#include "vmm/entry.h"

namespace gallocy::vmm {

inline NodeId random_node(Prng& random) { return NodeId{static_cast<std::uint16_t>(random.below(6))}; }

inline std::string random_name(Prng& random) { return std::string(1 + random.below(3), "abcd"[random.below(4)]); }

inline Placement random_placement(Prng& random) {
  switch (random.below(4)) {
    case 0:
      return Placement::first_touch();
    case 1:
      return Placement::interleave();
    case 2:
      return Placement::on(static_cast<unsigned>(random.below(6)));
    default:
      return Placement::blocked();
  }
}

// Runs mostly lie in the first regions of the window.
inline BlockHomes random_homes(Prng& random, RegionId region) {
  BlockHomes homes{.region = region};
  for (auto count = 1 + random.below(5); count > 0; --count) {
    homes.runs.push_back(
        {BlockId{random.below(64)}, static_cast<std::uint32_t>(1 + random.below(8)), random_node(random)});
  }
  return homes;
}

inline Entry random_entry(Prng& random) {
  const RegionId region{static_cast<std::uint32_t>(random.below(20))};
  const std::uint64_t bytes = random.one_in(10) ? random() : 1 + random.below(5) * 1'000'000;
  switch (random.below(17)) {
    case 0:
    case 1:
      if (random.one_in(4))
        return MemberJoined{kNoNode,         "10.0.1." + std::to_string(random.below(9)), 0, random.below(4), {},
                            random.one_in(3)};
      return MemberJoined{random_node(random), "10.0.0." + std::to_string(random.below(9)),        1 + random.below(3),
                          random.below(4),     Epoch{static_cast<std::uint32_t>(random.below(9))}, random.one_in(3)};
    case 2:
      return MemberLeft{random_node(random), random.below(3)};
    case 3:
      return MemberDied{random_node(random), 1 + random.below(3)};
    case 4:
    case 5:
    case 6:
      if (random.one_in(4))
        return MapRegion{
            random_name(random), bytes, {}, static_cast<std::uint8_t>(random.below(kMaxDurableBackups + 2))};
      return MapRegion{random_name(random), bytes, random_placement(random)};
    case 7:
      return UnmapRegion{region};
    case 8:
    case 9:
      return random_homes(random, region);
    case 10:
      return BindName{random_name(random), random.below(3)};
    case 11:
      return UnbindName{random_name(random)};
    case 12:
      return MemberLeaves{random_node(random)};
    case 13:
      return MemberStays{random_node(random)};
    case 14:
      return MemberSettles{random_node(random), static_cast<SettleStep>(1 + random.below(3)),
                           Epoch{static_cast<std::uint32_t>(random.below(9))}};
    default:
      return MemberMissed{random_node(random), 1 + random.below(3)};
  }
}

}  // namespace gallocy::vmm
