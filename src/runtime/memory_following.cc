#include "runtime/memory_following.h"

namespace gallocy::runtime {
namespace {

coherence::PlacementKind placement_kind(Placement::Kind kind) {
  switch (kind) {
    case Placement::Kind::kFirstTouch:
      return coherence::PlacementKind::kFirstTouch;
    case Placement::Kind::kInterleave:
      return coherence::PlacementKind::kInterleave;
    case Placement::Kind::kNode:
      return coherence::PlacementKind::kNode;
    case Placement::Kind::kBlocked:
      return coherence::PlacementKind::kBlocked;
  }
  return coherence::PlacementKind::kFirstTouch;
}

}  // namespace

coherence::RegionSpec region_spec(std::uint64_t address, std::uint64_t bytes, Placement placement,
                                  std::vector<NodeId> anchors) {
  return {.first_page = page_of(address),
          .pages = (bytes + kBlockBytes - 1) / kBlockBytes * kBlockPages,
          .placement = placement_kind(placement.kind),
          .node = NodeId{static_cast<std::uint16_t>(placement.node)},
          .anchors = std::move(anchors)};
}

std::vector<vmm::BlockHomes> home_entries(const vmm::Machine& machine,
                                          std::span<const std::pair<BlockId, NodeId>> homes) {
  std::vector<vmm::BlockHomes> entries;
  for (const auto& [block, home] : homes) {
    const vmm::Region* region = machine.region_at(block);
    if (region == nullptr) continue;
    if (entries.empty() || entries.back().region != region->id || entries.back().runs.size() == vmm::kMaxHomeRuns)
      entries.push_back({.region = region->id, .runs = {}});
    auto& runs = entries.back().runs;
    const bool continues =
        !runs.empty() && runs.back().home == home && runs.back().first.value + runs.back().count == block.value;
    if (continues) {
      ++runs.back().count;
    } else {
      runs.push_back({.first = block, .count = 1, .home = home});
    }
  }
  return entries;
}

}  // namespace gallocy::runtime
