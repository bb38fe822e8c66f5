// Death of a node. Pages that another node still has live on; threads that wait for something that only the dead node
// could give are told that it is lost; nobody waits for its acknowledgements.
#include <algorithm>

#include "coherence/core.h"

namespace gallocy::coherence {

void Core::node_died(NodeId node, std::uint64_t now, Effects& effects) {
  if (node == options_.self || !alive(node)) return;
  now_ = now;
  effects_ = &effects;
  dead_[node.value] = true;
  room_[node.value] = 0;
  std::erase_if(deferred_, [&](const Deferred& d) { return d.from == node; });
  transactions_without(node);
  requests_without(node);
  effects_ = nullptr;
}

void Core::lose(BlockId block, PageSet pages, NodeId node) {
  if (pages == 0) return;
  RegionPages& r = region(block);
  for_each(pages, [&](unsigned i) { r.local(page_at(block, i)).lost = 1; });
  effects_->list.push_back({.kind = Effect::Kind::kLost, .node = node, .block = block, .pages = pages});
}

// What this node, as home, was doing with the dead one.
void Core::transactions_without(NodeId node) {
  std::vector<BlockId> blocks;
  for (const auto& [block, activity] : activity_) blocks.push_back(block);
  std::ranges::sort(blocks);
  for (const BlockId block : blocks) {
    for (bool again = true; again;) {
      again = false;
      const auto found = activity_.find(block);
      if (found == activity_.end()) break;
      for (Transaction& t : found->second.open) {
        const std::size_t acks = t.acks.size();
        std::erase_if(t.acks, [&](const Ack& ack) { return ack.node == node; });
        if (acks != t.acks.size() && grant_acknowledged(block, &t)) {
          again = true;
        } else if (t.owner == node) {
          const Transaction lost = t;
          close(block, &t);
          // The owner stays entered; whoever asks learns that it is dead. If the pages did reach the requester, its
          // Done says so and revives them (on_done).
          RegionPages& r = region(block);
          for_each(lost.pages, [&](unsigned i) {
            r.entry(page_at(block, i)).owner = node.value;
            r.local(page_at(block, i)).lost = 1;
          });
          const wire::PageMessage m{.block = block.value, .pages = lost.pages, .requester = lost.requester.value,
                                    .origin = node.value, .flags = wire::kPageLost};
          if (lost.requester == options_.self) {
            on_decline(m);
          } else {
            send(lost.requester, wire::MessageType::kPageDecline, m);
          }
          again = true;
        } else if (t.requester == node && t.await_done) {
          // The pages were on their way to the dead: a read leaves the owner's and, once it has come, the home's copy.
          t.await_done = false;
          transfer_done(block, t);
          again = activity_.contains(block);
        }
        if (again) break;
      }
    }
    if (knows(block)) serve_queue(block);
  }
}

// What this node had asked others. A request may have been on its way through the dead node, so all are made again: an
// answer that comes twice is ignored the second time. Where the dead node was believed to be the home, the anchor is
// asked, which knows better or tells that the pages are lost.
void Core::requests_without(NodeId node) {
  std::vector<BlockId> blocks;
  for (const auto& [block, pages] : pending_) {
    if (!is_home(block)) blocks.push_back(block);
  }
  std::ranges::sort(blocks);
  for (const BlockId block : blocks) {
    RegionPages& r = region(block);
    const NodeId anchor = r.anchor(block, options_.nodes);
    const PageSet asked = pending_.at(block);
    if (home_of(block) == node) {
      if (anchor == node || anchor == options_.self) {
        lose(block, forget_pending(block, asked), node);
        continue;
      }
      BlockState& state = r.block(block);
      state.home_plus_one = 0;
      state.home_version = 0;
    }
    const NodeId home = home_of(block);
    for_each(asked, [&](unsigned i) {
      const LocalPage& p = r.local(page_at(block, i));
      send(home, wire::MessageType::kPageRequest,
           {.block = block.value,
            .pages = set_of(i),
            .held = p.right() == Access::kRead ? set_of(i) : 0,
            .requester = options_.self.value,
            .origin = options_.self.value,
            .access = static_cast<std::uint8_t>(p.pending()),
            .demand = static_cast<std::uint8_t>(i)});
    });
  }
}

}  // namespace gallocy::coherence
