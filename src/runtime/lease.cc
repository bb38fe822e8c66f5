#include "runtime/lease.h"

#include <algorithm>
#include <utility>

namespace gallocy::runtime {

Lease::Member* Lease::find(NodeId node) {
  const auto found = std::ranges::find_if(others_, [&](const Member& m) { return m.peer.node == node; });
  return found == others_.end() ? nullptr : &*found;
}

void Lease::members(std::span<const Peer> members) {
  std::vector<Member> others;
  for (const Peer& peer : members) {
    if (peer.node == self_) continue;
    const Member* known = find(peer.node);
    others.push_back(known != nullptr && known->peer.since == peer.since ? *known : Member{.peer = peer});
  }
  others_ = std::move(others);
}

void Lease::connection_lost(NodeId peer) {
  if (Member* member = find(peer)) member->lost = true;
}

void Lease::connection_made(NodeId peer) {
  if (Member* member = find(peer)) *member = {.peer = member->peer};
}

void Lease::answered(NodeId from, std::uint64_t asked_us) {
  if (Member* member = find(from)) member->answered_us = std::max(member->answered_us, asked_us);
}

bool Lease::held(std::uint64_t now) const {
  return std::ranges::all_of(
      others_, [&](const Member& m) { return !m.lost && m.answered_us != kNever && now < m.answered_us + kLeaseUs; });
}

}  // namespace gallocy::runtime
