#include "runtime/sync_following.h"

namespace gallocy::runtime {

bool was_sync_home(const vmm::Machine& machine, NodeId node) {
  const vmm::Member& left = *machine.member(node);
  if (left.state != vmm::MemberState::kLeft) return false;
  for (const auto& [other, member] : machine.all_members()) {
    if (other >= node) break;
    if (member.state == vmm::MemberState::kPresent || member.since > left.since) return false;
  }
  return true;
}

std::vector<NodeId> gone_before(const vmm::Machine& machine) {
  std::vector<NodeId> gone;
  for (const auto& [node, member] : machine.all_members()) {
    if (member.state == vmm::MemberState::kDied || was_sync_home(machine, node)) gone.push_back(node);
  }
  return gone;
}

}  // namespace gallocy::runtime
