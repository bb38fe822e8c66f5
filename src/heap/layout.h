// Where everything of the heap is: plain arithmetic on addresses, the same on every node.
//
//   start                                                  the heap region, mapped at the same address on all nodes
//   | slice of node 0 | slice of node 1 | …                each slice_bytes long
//   | granule | granule | …                                64 KiB each (size_classes.h)
#pragma once

#include <cstdint>

#include "base/ids.h"
#include "heap/size_classes.h"

namespace gallocy::heap {

// Smaller slices could not hold one slab of every size class for a few hundred threads.
inline constexpr std::uint64_t kMinSliceBytes = std::uint64_t{4} << 30;

struct Layout {
  std::uint64_t start = 0;        // multiple of kGranuleBytes
  std::uint64_t slice_bytes = 0;  // power of two, at least kMinSliceBytes
  std::uint16_t nodes = 1;
  NodeId self{};

  constexpr bool contains(std::uint64_t address) const { return address - start < slice_bytes * nodes; }
  // Of an address that the heap contains.
  constexpr NodeId owner_of(std::uint64_t address) const {
    return NodeId{static_cast<std::uint16_t>((address - start) >> std::countr_zero(slice_bytes))};
  }
  constexpr std::uint64_t slice_start(NodeId node) const { return start + slice_bytes * node.value; }
  constexpr std::uint64_t granules() const { return slice_bytes / kGranuleBytes; }
};

}  // namespace gallocy::heap
