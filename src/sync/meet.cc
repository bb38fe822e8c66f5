#include "sync/meet.h"

#include <bit>
#include <utility>

#include "sync/context.h"

namespace gallocy::sync {

using wire::SyncMessage;
using wire::SyncVerb;

namespace {

// Place of a node among the live ones, and back.
std::uint32_t rank_of(const View& view, NodeId node) {
  std::uint32_t rank = 0;
  for (std::uint16_t i = 0; i < node.value; ++i) rank += view.alive(NodeId{i});
  return rank;
}

NodeId node_of(const View& view, std::uint32_t rank) {
  for (std::uint16_t i = 0; i < view.nodes(); ++i) {
    if (view.alive(NodeId{i}) && rank-- == 0) return NodeId{i};
  }
  return kNoNode;
}

// The set of d = 2^k for which rank + d is a child.
std::uint32_t children_of(std::uint32_t rank, std::uint32_t count) {
  std::uint32_t children = 0;
  const std::uint32_t lowest = rank == 0 ? std::bit_ceil(count) : rank & (~rank + 1);
  for (std::uint32_t d = 1; d < lowest && rank + d < count; d <<= 1) children |= d;
  return children;
}

}  // namespace

Outcome Meet::arrive(Context& context, WaiterId waiter) {
  if (context.lossy()) return Outcome::kPeerLost;
  if (here_) return Outcome::kMismatch;
  here_ = true;
  waiter_ = waiter.value;
  up(context);
  return Outcome::kPending;
}

// Reports to the parent once this node and all below it have come.
void Meet::up(Context& context) {
  const std::uint32_t rank = rank_of(context.view, context.self());
  if (!here_ || came_ != children_of(rank, context.view.live_count())) return;
  if (rank == 0) return down(context);
  context.send(node_of(context.view, rank & (rank - 1)), {.count = phase_, .verb = SyncVerb::kMeetUp});
}

void Meet::down(Context& context) {
  const std::uint32_t rank = rank_of(context.view, context.self());
  const std::uint32_t children = children_of(rank, context.view.live_count());
  // The largest subtree first: it has the longest way to go.
  for (std::uint32_t d = std::bit_floor(children); d != 0; d >>= 1) {
    if ((children & d) == 0) continue;
    context.send(node_of(context.view, rank + d), {.count = phase_, .verb = SyncVerb::kMeetDown});
  }
  ++phase_;
  came_ = 0;
  here_ = false;
  context.wake(std::exchange(waiter_, 0), Outcome::kGranted);
}

bool Meet::receive(Context& context, NodeId from, const SyncMessage& m) {
  const std::uint32_t rank = rank_of(context.view, context.self());
  const std::uint32_t sender = rank_of(context.view, from);
  if (m.count != phase_) return false;
  if (m.verb == SyncVerb::kMeetDown) {
    // Only the parent of a node that has reported says so.
    const bool reported = here_ && came_ == children_of(rank, context.view.live_count());
    if (rank == 0 || sender != (rank & (rank - 1)) || !reported) return false;
    down(context);
    return true;
  }
  const std::uint32_t child = sender - rank;
  if (sender <= rank || !std::has_single_bit(child)) return false;
  if ((children_of(rank, context.view.live_count()) & child) == 0 || (came_ & child) != 0) return false;
  came_ |= child;
  up(context);
  return true;
}

bool Meet::cancel(WaiterId waiter) {
  if (waiter_ != waiter.value) return false;
  waiter_ = 0;
  return true;
}

void Meet::view_changed(Context& context) {
  phase_ = 0;
  came_ = 0;
  here_ = false;
  context.wake(std::exchange(waiter_, 0), Outcome::kPeerLost);
}

void Meet::digest(StateDigest& digest) const { digest.add(phase_, came_, here_, waiter_); }

}  // namespace gallocy::sync
