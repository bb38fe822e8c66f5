#include "runtime/sync_following.h"

#include <algorithm>
#include <set>

namespace gallocy::runtime {

std::vector<NodeId> gone_before(const vmm::Machine& machine) {
  std::vector<NodeId> gone;
  for (const auto& [node, member] : machine.all_members()) {
    if (member.state == vmm::MemberState::kDied) gone.push_back(node);
  }
  return gone;
}

sync::HomesMoved homes_moved(const vmm::Machine& machine) {
  using Kind = vmm::MembershipChange::Kind;
  std::set<NodeId> members, passed_over;
  sync::HomesMoved moved;
  const auto home = [&] {
    const auto found = std::ranges::find_if(members, [&](NodeId node) { return !passed_over.contains(node); });
    return found != members.end() ? *found : members.empty() ? kNoNode : *members.begin();
  };
  const auto all_passed_over = [&] { return !members.empty() && std::ranges::includes(passed_over, members); };
  const auto stays = [&](NodeId node) {
    moved.moves = static_cast<std::uint16_t>(moved.moves + passed_over.erase(node));
  };
  for (const vmm::MembershipChange& change : machine.membership_changes()) {
    switch (change.kind) {
      case Kind::kJoined:
        if (all_passed_over()) passed_over.insert(change.node);
        members.insert(change.node);
        break;
      case Kind::kLeaves:
        if (change.node != home() || members.size() == 1) break;
        passed_over.insert(change.node);
        if (all_passed_over()) {
          for (const NodeId node : members) passed_over.erase(node);
          passed_over.insert(change.node);
        }
        ++moved.moves;
        break;
      case Kind::kStays:
        stays(change.node);
        break;
      case Kind::kGone:
        moved.a_home_died = moved.a_home_died || (change.node == home() && members.size() > 1);
        members.erase(change.node);
        // Some have a link to it yet. If it died they hear of that, and then homes move without it.
        if (machine.member(change.node)->state == vmm::MemberState::kLeft) passed_over.insert(change.node);
        break;
      case Kind::kRestarted:
        moved.a_home_died = moved.a_home_died || change.node == home();
        stays(change.node);
        break;
      case Kind::kTakenIn:
      case Kind::kTakesOver:
      case Kind::kSettled:
        break;
    }
  }
  moved.passed_over.assign(passed_over.begin(), passed_over.end());
  return moved;
}

}  // namespace gallocy::runtime
