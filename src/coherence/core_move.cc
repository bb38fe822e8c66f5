// Homes that move. A block that nobody used goes to the node that first asks for it (first touch); a block that one
// node keeps writing goes to that node (stable writer). The old home remembers where it sent the block and forwards
// what still comes to it. See "Home moves" in docs/protocol.md for why a chain of forwards always ends.
#include "base/check.h"
#include "coherence/core.h"

namespace gallocy::coherence {

// The request that brought us here is answered by the hand-over: the new home serves it itself.
void Core::hand_over_untouched(const wire::PageMessage& request) {
  const BlockId block{request.block};
  wire::PageMessage m = request;
  BlockState& state = block_state(block);
  m.origin = options_.self.value;
  m.flags = wire::kPageConsumed;
  m.home_version = ++state.home_version;
  state.home_plus_one = static_cast<std::uint16_t>(request.requester + 1);
  given_.insert(block);
  send(NodeId{request.requester}, wire::MessageType::kPageHandOver, m);
}

void Core::consider_move(BlockId block, NodeId writer) {
  BlockState& state = block_state(block);
  if (state.writer != writer.value) state.writer_grants = 0;
  state.writer = writer.value;
  if (state.writer_grants < 255) ++state.writer_grants;
  if (options_.move_home_after == 0 || state.writer_grants < options_.move_home_after) return;
  if (writer == options_.self || !stays(writer) || !may_move(block)) return;
  fence_then_hand_over(block, writer);
}

bool Core::give_home(BlockId block, NodeId to, std::uint64_t now, Effects& effects) {
  if (!knows(block) || !is_home(block) || to == options_.self || !stays(to)) return true;
  if (block_state(block).initialised == 0) return true;  // it goes to the first who asks
  if (!may_move(block)) return false;
  now_ = now;
  effects_ = &effects;
  fence_then_hand_over(block, to);
  effects_ = nullptr;
  return true;
}

// What this home has granted, lent or acknowledged may still be on its way, and nothing orders it against what the new
// home will send: an Invalidate could overtake the Data it is meant for. So the block first rests until every other
// node has said that all earlier messages have arrived. Moves are rare enough for a round trip to all.
void Core::fence_then_hand_over(BlockId block, NodeId to) {
  Transaction fence{.pages = ~PageSet{0}, .requester = to, .flags = wire::kPageFence};
  for (std::uint16_t n = 0; n < numbers_; ++n) {
    const NodeId node{n};
    if (node != options_.self && node != to && alive(node)) fence.acks.push_back({node, fence.pages});
  }
  if (fence.acks.empty()) return hand_over(block, to);
  RegionPages& r = region(block);
  for_each(fence.pages, [&](unsigned i) { r.entry(page_at(block, i)).busy = 1; });
  for (const Ack& ack : fence.acks) {
    send(ack.node, wire::MessageType::kPageInvalidate,
         {.block = block.value,
          .pages = fence.pages,
          .requester = to.value,
          .origin = options_.self.value,
          .flags = wire::kPageFence});
  }
  activity_[block].open.push_back(std::move(fence));
}

// Only a block at rest moves, so that no acknowledgement or transfer has to look for its home.
bool Core::may_move(BlockId block) const {
  if (activity_.contains(block) || !exact_copysets() || frozen(block) != 0) return false;
  RegionPages& r = region(block);
  for (unsigned i = 0; i < kBlockPages; ++i) {
    const LocalPage& p = r.local(page_at(block, i));
    if (p.pending() != Access::kNone || p.evicting != 0 || p.lost != 0) return false;
  }
  return true;
}

// Pages that only this node has stay here, owned; shared ones travel with the directory, because a home's frame of a
// shared page is valid; the new home's own pages are home-only there.
void Core::hand_over(BlockId block, NodeId to) {
  RegionPages& r = region(block);
  BlockState& state = r.block(block);
  const auto tail = static_cast<std::uint32_t>(effects_->tails.size());
  wire::PageMessage m{.block = block.value,
                      .pages = ~PageSet{0},
                      .requester = to.value,
                      .origin = options_.self.value,
                      .home_version = ++state.home_version};
  for (unsigned i = 0; i < kBlockPages; ++i) {
    DirectoryEntry& e = r.entry(page_at(block, i));
    LocalPage& p = r.local(page_at(block, i));
    if (e.state() == PageState::kHomeOnly && p.frame != 0) {
      e.set(PageState::kExclusive);
      e.owner = options_.self.value;
    } else if (e.state() == PageState::kHomeOnly) {
      p.set_right(Access::kNone);  // nobody used it: it reads as zero at the new home
    } else if (e.state() == PageState::kShared) {
      m.carried |= set_of(i);
      e.copyset = (e.copyset | copyset_bit(options_.self)) & ~copyset_bit(to);
    } else if (e.owner == to.value) {
      e.set(PageState::kHomeOnly);
    }
    effects_->tails.push_back(e);
    e = DirectoryEntry{};
  }
  state.initialised = 0;
  state.was_home = 1;
  homes_.erase(block);
  given_.insert(block);
  state.writer_grants = 0;
  state.home_plus_one = static_cast<std::uint16_t>(to.value + 1);
  ++counters_.homes_moved;
  send(to, wire::MessageType::kPageHandOver, m);
  effects_->list.back().tail = tail;
}

bool Core::on_hand_over(NodeId, const wire::PageMessage& m, std::span<const DirectoryEntry> tail) {
  const BlockId block{m.block};
  const bool consumed = (m.flags & wire::kPageConsumed) != 0;
  if (is_home(block) || m.requester != options_.self.value || (!consumed && tail.size() != kBlockPages)) return false;
  if (consumed && (m.access == 0 || !contains(m.pages, m.demand))) return false;
  BlockState& state = block_state(block);
  state.home_plus_one = static_cast<std::uint16_t>(options_.self.value + 1);
  state.home_version = m.home_version;
  effects_->list.push_back({.kind = Effect::Kind::kHomeMoved, .node = options_.self, .block = block});
  if (consumed) {
    initialise(block);
    wire::PageMessage request = m;
    request.flags = 0;
    serve(request);
    return true;
  }
  RegionPages& r = region(block);
  state.initialised = 1;
  homes_.insert(block);
  state.writer = options_.self.value;
  PageSet back = 0;
  for (unsigned i = 0; i < kBlockPages; ++i) {
    const DirectoryEntry& e = tail[i];
    LocalPage& p = r.local(page_at(block, i));
    r.entry(page_at(block, i)) = e;
    if (p.evicting != 0) back |= set_of(i);
    evicting_ -= p.evicting;
    p.evicting = 0;
    p.set_right(e.state() == PageState::kHomeOnly ? Access::kWrite
                : e.state() == PageState::kShared ? Access::kRead
                                                  : Access::kNone);
  }
  take_frames(block, m.carried);
  if (back != 0) wake(block, back);
  return true;
}

}  // namespace gallocy::coherence
