#include "runtime/lease.h"

#include <algorithm>
#include <utility>

namespace gallocy::runtime {

Lease::Member* Lease::find(NodeId node) {
  const auto found = std::ranges::find(others_, node, &Member::node);
  return found == others_.end() ? nullptr : &*found;
}

void Lease::members(std::span<const NodeId> members) {
  std::vector<Member> others;
  for (const NodeId node : members) {
    if (node == self_) continue;
    const Member* known = find(node);
    others.push_back(known != nullptr ? *known : Member{.node = node});
  }
  others_ = std::move(others);
}

void Lease::connection_lost(NodeId peer) {
  if (Member* member = find(peer)) member->lost = true;
}

void Lease::answered(NodeId from, std::uint64_t asked_us) {
  if (Member* member = find(from)) member->answered_us = std::max(member->answered_us, asked_us);
}

bool Lease::held(std::uint64_t now) const {
  return std::ranges::all_of(
      others_, [&](const Member& m) { return !m.lost && m.answered_us != kNever && now < m.answered_us + kLeaseUs; });
}

}  // namespace gallocy::runtime
