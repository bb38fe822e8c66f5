// How a node's memory (a coherence core, by whatever name and under whatever lock) follows the VMM's log: which regions
// there are, and where the log says that blocks have their homes. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "coherence/region_pages.h"
#include "vmm/machine.h"

namespace gallocy::runtime {

coherence::RegionSpec region_spec(std::uint64_t address, std::uint64_t bytes, Placement placement,
                                  std::vector<NodeId> anchors);

// As few entries as will hold the homes of those of these blocks, ascending, that are in a region of the log.
std::vector<vmm::BlockHomes> home_entries(const vmm::Machine& machine,
                                          std::span<const std::pair<BlockId, NodeId>> homes);

// An entry of the log says where blocks are. Whoever names another than itself gave them away, and leaves.
template <typename Memory>
void follow_homes(Memory& memory, NodeId proposer, const vmm::BlockHomes& homes) {
  for (const vmm::HomeRun& run : homes.runs) {
    if (run.home != proposer) memory.home_given(run.first, run.count, proposer, run.home);
    memory.home_hint(run.first, run.count, run.home);
  }
}

// All that the log says of homes, at once: to who has not followed it entry by entry, and again after a death, since
// what the memory knew better may have been the dead node.
template <typename Memory>
void recall_homes(Memory& memory, const vmm::Machine& machine) {
  for (const auto& [id, region] : machine.regions()) {
    region.homes.for_each_run(
        [&](BlockId first, std::uint64_t count, NodeId home) { memory.home_hint(first, count, home); });
  }
}

}  // namespace gallocy::runtime
