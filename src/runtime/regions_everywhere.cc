// Regions: who has a region already. A pointer into it may reach a node before the log does, so nobody gets one before
// all nodes have it. One of them gathers who has: the first that is not dead.
#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/regions.h"

namespace gallocy::runtime {

Result<> Regions::wait_until_everywhere(RegionId region, std::int64_t deadline_ns) {
  for (WaitFlag flag;; flag.reset()) {
    {
      const os::MutexLock lock(mu_);
      if (options_.nodes == 1 || std::ranges::find(everywhere_, region) != everywhere_.end()) return {};
      region_waiters_.push_back(&flag);
    }
    if (waiting_->wait(flag, deadline_ns)) continue;
    const os::MutexLock lock(mu_);
    if (std::erase(region_waiters_, &flag) == 0) continue;
    return fail(ErrorCode::kTimeout, "not all nodes mapped the region in time");
  }
}

// All founders are members before a region is mapped.
NodeId Regions::coordinator() const {
  for (const NodeId node : first().machine().members()) {
    if (!dead_[node.value]) return node;
  }
  return self_;
}

// Nobody has written to it before all have said so. Hence who starts again with an empty journal has missed nothing.
void Regions::say_it_is_here(RegionId region) {
  if (!durable_.journal_begun()) return void(unsaid_ = true);
  if (coordinator() == self_) return region_is_here(self_, region);
  send_news(coordinator(), wire::kRegionHere, region);
}

// May come before this node's log has the region, or before it knows that it is the coordinator.
bool Regions::region_news(NodeId from, wire::MessageType type, std::span<const std::byte> body) {
  wire::RegionNews news;
  if (body.size() != sizeof news) return false;
  std::memcpy(&news, body.data(), sizeof news);
  const RegionId region{news.region};
  if (type == wire::kRegionHere) {
    if (here_.size() >= vmm::kMaxRegions) return false;
    region_is_here(from, region);
    return true;
  }
  if (std::ranges::find(everywhere_, region) == everywhere_.end()) everywhere_.push_back(region);
  for (WaitFlag* waiter : std::exchange(region_waiters_, {})) waiter->set();
  return true;
}

void Regions::region_is_here(NodeId node, RegionId region) {
  if (node != self_ && std::ranges::find(everywhere_, region) != everywhere_.end())
    return send_news(node, wire::kRegionEverywhere, region);  // it came later
  std::vector<NodeId>& nodes = here_[region];
  if (std::ranges::find(nodes, node) == nodes.end()) nodes.push_back(node);
  tell_if_everywhere(region);
}

void Regions::tell_if_everywhere(RegionId region) {
  const auto found = here_.find(region);
  if (found == here_.end() || coordinator() != self_) return;
  if (this->region(region) == nullptr) return;  // nor is it known who has to have it
  const std::vector<NodeId> members = first().machine().members();
  for (const NodeId node : members) {
    if (is_live(node) && std::ranges::find(found->second, node) == found->second.end()) return;
  }
  here_.erase(found);
  if (std::ranges::find(everywhere_, region) == everywhere_.end()) everywhere_.push_back(region);
  for (const NodeId node : members) {
    if (node != self_ && is_live(node)) send_news(node, wire::kRegionEverywhere, region);
  }
  for (WaitFlag* waiter : std::exchange(region_waiters_, {})) waiter->set();
}

void Regions::send_news(NodeId to, wire::MessageType type, RegionId region) {
  const wire::RegionNews news{.region = region.value};
  mesh_->queue(to, type, std::as_bytes(std::span(&news, 1)));
}

}  // namespace gallocy::runtime
