// Regions: homes of blocks on their way into the log.
#include <algorithm>

#include "runtime/regions.h"

namespace gallocy::runtime {

// Homes that moved to this node become entries of the log. Nobody waits for that: the old home forwards meanwhile.
void Regions::announce_new_homes() {
  std::vector<std::pair<BlockId, NodeId>> homes;
  for (const BlockId block : memory_.take_new_homes()) homes.emplace_back(block, self_);
  vmm::Effects effects;
  for (vmm::BlockHomes& entry : entries_of(std::move(homes)))
    log_.propose(std::move(entry), vmm::Ticket{next_ticket_++}, now_us(), effects);
  carry_out(effects);
}

// As few as will hold them.
std::vector<vmm::BlockHomes> Regions::entries_of(std::vector<std::pair<BlockId, NodeId>> homes) {
  std::ranges::sort(homes);
  std::vector<vmm::BlockHomes> entries;
  for (const auto& [block, home] : homes) {
    const vmm::Region* region = log_.machine().region_at(block);
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

Result<> Regions::publish_homes(std::vector<std::pair<BlockId, NodeId>> homes) {
  std::vector<vmm::BlockHomes> entries;
  {
    const os::MutexLock lock(mu_);
    entries = entries_of(std::move(homes));
  }
  for (vmm::BlockHomes& entry : entries) {
    auto published = propose({std::move(entry)}, kProposalTimeout);
    if (!published) return tl::unexpected(published.error());
  }
  return {};
}

}  // namespace gallocy::runtime
