// A node that leaves in order, and nodes that come. Before it goes, a node gives away the blocks whose home it is,
// sends home the pages that it owns, and tells everybody where its blocks went (the driver, through the VMM log): it
// was the one who would have forwarded. See "Leaving" in docs/protocol.md.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "coherence/core.h"

namespace gallocy::coherence {

void Core::node_joined(NodeId node) {
  CHECK(node.value < options_.nodes && !alive(node), node);
  note_presence(node, true);
  room_[node.value] = 0;  // until it says how much it has
}

void Core::note_presence(NodeId node, bool is_alive) {
  alive_[node.value] = is_alive;
  if (node.value >= numbers_) numbers_ = static_cast<std::uint16_t>(node.value + 1);
  std::uint64_t bits = 0;
  exact_copysets_ = true;
  for (std::uint16_t n = 0; n < numbers_; ++n) {
    if (!alive_[n]) continue;
    if ((bits & copyset_bit(NodeId{n})) != 0) exact_copysets_ = false;
    bits |= copyset_bit(NodeId{n});
  }
}

bool Core::keeps_here(RegionPages& r, BlockId block) const {
  const BlockState& state = r.block(block);
  if (is_home(block)) return state.initialised != 0;
  if (state.listed == 0) return false;  // no frames
  for (unsigned i = 0; i < kBlockPages; ++i) {
    const LocalPage& p = r.local(page_at(block, i));
    if (p.right() == Access::kWrite || p.evicting != 0 || p.pending() != Access::kNone) return true;
  }
  return false;
}

std::vector<BlockId> Core::blocks_kept() {
  std::vector<BlockId> kept(homes_.begin(), homes_.end());
  for (const BlockId block : blocks_with_frames_) {
    if (!homes_.contains(block)) kept.push_back(block);
  }
  std::erase_if(kept, [&](BlockId block) { return !keeps_here(region(block), block); });
  std::ranges::sort(kept);
  return kept;
}

std::string Core::why_kept(BlockId block) {
  RegionPages& r = region(block);
  std::string text = fmt::format("block {} (home {})", block, home_of(block));
  if (const auto found = activity_.find(block); found != activity_.end()) {
    for (const Transaction& t : found->second.open) {
      text += fmt::format("; open for node {}: owner {} flags {} done {} back {}", t.requester, t.owner, t.flags,
                          t.await_done, t.await_write_back);
      for (const Ack& ack : t.acks) text += fmt::format(" ack of {}", ack.node);
    }
    text += fmt::format("; {} requests wait", found->second.queue.size());
  }
  for (unsigned i = 0; i < kBlockPages; ++i) {
    const LocalPage& p = r.local(page_at(block, i));
    if (p.pending() != Access::kNone || p.evicting != 0 || (!is_home(block) && p.right() == Access::kWrite))
      return text + "; " + describe(page_at(block, i)) +
             fmt::format(" frame={} putting={} waited={} stuck={:x}", int{p.frame}, int{p.putting}, int{p.waited},
                         stuck(block, set_of(i)));
  }
  return text;
}

bool Core::give_up(BlockId block, NodeId heir, std::uint64_t now, Effects& effects) {
  RegionPages& r = region(block);
  if (!keeps_here(r, block)) return true;
  if (is_home(block)) {
    (void)give_home(block, heir, now, effects);
    return false;
  }
  now_ = now;
  effects_ = &effects;
  block_state(block).idle = 1;  // no second chance
  // Nor for a page that came for a thread which found another way: there are no threads any more.
  for (unsigned i = 0; i < kBlockPages; ++i) r.local(page_at(block, i)).waited = 0;
  (void)evict_block(block, kBlockPages);
  effects_ = nullptr;
  return !keeps_here(r, block);
}

std::vector<std::pair<BlockId, NodeId>> Core::given_homes() {
  std::vector<std::pair<BlockId, NodeId>> given;
  for (const BlockId block : given_) {
    if (!is_home(block)) given.emplace_back(block, home_of(block));
  }
  std::ranges::sort(given);
  return given;
}

void Core::home_given(BlockId block, NodeId from, NodeId to) {
  if (find(first_page(block)) == nullptr || to.value >= options_.nodes || from == options_.self) return;
  heirs_[block].emplace_back(from, to);
  BlockState& state = block_state(block);
  // The hand-over may come later than this: until it is here this node must not take itself for the home, though it may
  // become the anchor.
  if (to == options_.self && state.home_plus_one == 0) state.home_plus_one = static_cast<std::uint16_t>(from.value + 1);
  if (state.home_plus_one == from.value + 1u && to != options_.self) {
    state.home_plus_one = static_cast<std::uint16_t>(to.value + 1);
  }
}

// Who has the block of a home that has left, if one who lives has it.
NodeId Core::heir_of(BlockId block, NodeId former) const {
  const auto found = heirs_.find(block);
  if (found == heirs_.end()) return kNoNode;
  // Each step leads to one who got the block later, so there are no more of them than entries.
  for (std::size_t steps = 0; steps <= found->second.size(); ++steps) {
    if (alive(former)) return former;
    const auto next = std::ranges::find(found->second, former, &std::pair<NodeId, NodeId>::first);
    if (next == found->second.end()) break;
    former = next->second;
  }
  return kNoNode;
}

void Core::anchors_are(PageId first_page, const std::vector<NodeId>& anchors, std::uint64_t now, Effects& effects) {
  RegionPages* r = find(first_page);
  if (r == nullptr) return;
  r->set_anchors(anchors);
  now_ = now;
  effects_ = &effects;
  serve_those_who_wait();
  effects_ = nullptr;
}

void Core::give_untouched(std::uint64_t now, Effects& effects) {
  keeps_untouched_ = false;
  now_ = now;
  effects_ = &effects;
  serve_those_who_wait();
  effects_ = nullptr;
}

void Core::serve_those_who_wait() {
  for (const wire::PageMessage& m : std::exchange(for_the_next_anchor_, {})) serve(m);
}

}  // namespace gallocy::coherence
