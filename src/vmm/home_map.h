// HomeMap: the home of each block of one region, run-length. Memory grows with the number of runs (48 bytes each), a
// lookup is O(log runs).
//
// Invariant: the map holds the first block of each run and the run's home; a run reaches to the next one. Neighbours
// have different homes, and the last run is kNoNode, so the blocks assigned are bounded. No run at all: nothing
// assigned.
#pragma once

#include <cstdint>
#include <map>

#include "base/ids.h"

namespace gallocy::vmm {

class HomeMap {
 public:
  void assign(BlockId first, std::uint64_t count, NodeId home);
  NodeId home_of(BlockId block) const;  // kNoNode: never assigned
  std::size_t runs() const;             // of assigned blocks

  // Calls visit(first, count, home) for each run of assigned blocks, in ascending order.
  template <typename Visit>
  void for_each_run(Visit visit) const {
    for (auto run = starts_.begin(); run != starts_.end(); ++run) {
      if (run->second == kNoNode) continue;
      visit(run->first, std::next(run)->first.value - run->first.value, run->second);
    }
  }

  bool consistent() const;  // the invariant

 private:
  std::map<BlockId, NodeId> starts_;
};

}  // namespace gallocy::vmm
