#include "runtime/durable_following.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace gallocy::runtime {
namespace {

// The members in the epochs from 1 on, one after the other.
class Memberships {
 public:
  explicit Memberships(const vmm::Machine& machine) : machine_(machine), changes_(machine.membership_changes()) {}
  bool next() {
    if (epoch().value == changes_.size()) return false;
    const auto [node, kind] = changes_[now_.epoch.value++];
    now_.restarted = kind == Kind::kRestarted ? node : kNoNode;
    if (kind == Kind::kJoined || kind == Kind::kGone) {
      change(now_.nodes, node, kind);
      // After the end of all nodes they would have nothing of it.
      if (machine_.on_disk() && !machine_.member(node)->on_disk) change(now_.bystanders, node, kind);
    }
    follow_settling(node, kind);
    if (kind == Kind::kLeaves) {
      now_.leaver = node;
    } else if (now_.leaver == node) {  // whatever else becomes of it
      now_.leaver = kNoNode;
    }
    return true;
  }
  const durable::Membership& now() const { return now_; }
  Epoch epoch() const { return now_.epoch; }

 private:
  using Kind = vmm::MembershipChange::Kind;

  void follow_settling(NodeId node, Kind kind) {
    using Step = durable::SettleStep;
    now_.step = kind == Kind::kTakenIn     ? Step::kTakenIn
                : kind == Kind::kTakesOver ? Step::kTakesOver
                : kind == Kind::kSettled   ? Step::kSettled
                                           : Step::kNone;
    if (kind == Kind::kTakenIn) {
      now_.settler = node;
    } else if (now_.settler == node && kind != Kind::kTakesOver) {
      now_.settler = kNoNode;
    }
  }

  static void change(std::vector<NodeId>& nodes, NodeId node, Kind kind) {
    const auto at = std::ranges::lower_bound(nodes, node);
    if (kind == Kind::kJoined) nodes.insert(at, node);
    if (kind == Kind::kGone) nodes.erase(at);
  }

  const vmm::Machine& machine_;
  const std::vector<vmm::MembershipChange>& changes_;
  durable::Membership now_;
};

durable::DurableRegion durable_region(const vmm::Region& region) {
  return {region.first_block(), region.blocks(), region.durable_backups, region.founded};
}

void map_regions(durable::Core& core, const vmm::Machine& machine, RegionId& next_region) {
  const auto& regions = machine.regions();
  for (auto at = regions.lower_bound(next_region); at != regions.end() && at->second.founded == core.epoch(); ++at) {
    next_region = RegionId{at->first.value + 1};
    if (at->second.durable_backups == 0) continue;
    const durable::DurableRegion region = durable_region(at->second);
    core.map_region(region.first, region.blocks, region.backups);
  }
}

}  // namespace

void begin_durable(std::optional<durable::Core>& core, NodeId self, const vmm::Machine& machine,
                   const durable::Options& options, RegionId& next_region, durable::Kept kept) {
  if (!machine.is_member(self)) return;
  const bool again = kept.epoch != Epoch{};
  const Epoch begins = again ? kept.epoch : machine.member(self)->since;
  Memberships memberships(machine);
  memberships.next();
  durable::History history(memberships.now());
  while (memberships.epoch() < begins && memberships.next()) history.add(memberships.now());
  std::vector<durable::DurableRegion> regions;
  for (const auto& [id, region] : machine.regions()) {
    if (region.founded > begins || (region.founded == begins && !again)) break;
    if (region.durable_backups > 0) regions.push_back(durable_region(region));
    next_region = RegionId{id.value + 1};
  }
  if (again) {
    core.emplace(self, history, regions, options, std::move(kept));
  } else {
    core.emplace(self, history, regions, options);
  }
  follow_durable(*core, machine, next_region);
}

void follow_durable(durable::Core& core, const vmm::Machine& machine, RegionId& next_region) {
  Memberships memberships(machine);
  while (memberships.next()) {
    if (memberships.epoch() > core.epoch()) core.epoch(memberships.now());
    if (memberships.epoch() == core.epoch()) map_regions(core, machine, next_region);
  }
}

std::vector<Lease::Peer> peers_of(const durable::Core& core) {
  std::vector<Lease::Peer> peers;
  for (const NodeId node : core.history().members()) peers.push_back({node, core.history().joined(node)});
  return peers;
}

}  // namespace gallocy::runtime
