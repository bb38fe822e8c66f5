// Regions: homes of blocks on their way into the log.
#include <algorithm>
#include <iterator>

#include "runtime/memory_following.h"
#include "runtime/regions.h"

namespace gallocy::runtime {

// Homes that moved to this node become entries of the log. Nobody waits for that: the old home forwards meanwhile.
void Regions::announce_new_homes() {
  std::vector<std::pair<BlockId, NodeId>> homes;
  for (const BlockId block : memory_.take_new_homes()) homes.emplace_back(block, self_);
  Turn turn(shards_.size());
  for (vmm::BlockHomes& entry : entries_of(std::move(homes))) hand_in(std::move(entry), next_ticket_++, turn);
  carry_out(turn);
}

std::vector<vmm::BlockHomes> Regions::entries_of(std::vector<std::pair<BlockId, NodeId>> homes) const {
  std::ranges::sort(homes);
  std::vector<vmm::BlockHomes> entries;
  for (const ShardLog& shard : shards_)
    std::ranges::move(home_entries(shard.log.machine(), homes), std::back_inserter(entries));
  return entries;
}

Result<> Regions::publish_homes(std::vector<std::pair<BlockId, NodeId>> homes) {
  std::vector<vmm::BlockHomes> entries;
  {
    const os::MutexLock lock(mu_);
    entries = entries_of(std::move(homes));
  }
  for (vmm::BlockHomes& entry : entries) {
    // What a node got that has died, perhaps just now, is lost: there is nothing to tell of it.
    for (drop_the_dead(entry); !entry.runs.empty();) {
      const auto published = propose({entry}, kProposalTimeout);
      if (published) break;
      if (!drop_the_dead(entry)) return tl::unexpected(published.error());
    }
  }
  return {};
}

// Whether there were any.
bool Regions::drop_the_dead(vmm::BlockHomes& homes) {
  const os::MutexLock lock(mu_);
  const vmm::Machine& machine = shards_[vmm::shard_of(homes, options_.shards)].log.machine();
  return std::erase_if(homes.runs, [&](const vmm::HomeRun& run) { return !machine.is_member(run.home); }) != 0;
}

}  // namespace gallocy::runtime
