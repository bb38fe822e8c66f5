// Shard: the address space may be divided among several companies, each of which keeps the log of one shard: its
// regions, the homes of their blocks, and the names that fall to it. The first company also keeps who is a member; the
// others follow it (Log::follow_members).
//
// Whose a thing is follows from the thing alone, so that every node asks the same company: a region that is mapped and
// a name by the name, a region that exists by its id, an address by where it lies. Durable regions are the first
// company's, as the epochs are by which the companies of their blocks are chosen.
#pragma once

#include <cstdint>

#include "vmm/entry.h"
#include "vmm/window_space.h"

namespace gallocy::vmm {

struct Shard {
  std::uint32_t index = 0, of = 1;

  bool is_first() const { return index == 0; }
  // Equal slices of the window.
  AddressRange window() const {
    const std::uint64_t slice = kWindowBytes / of / kRegionAlignBytes * kRegionAlignBytes;
    return {kWindowBase + index * slice, of == 1 ? kWindowBytes : slice};
  }
  RegionId first_region() const { return RegionId{index + 1}; }
  bool has(RegionId region) const { return region.value > 0 && (region.value - 1) % of == index; }
};

// Which of so many shards an entry belongs to.
std::uint32_t shard_of(const Entry& entry, std::uint32_t shards);

}  // namespace gallocy::vmm
