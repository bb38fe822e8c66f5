// Death of a node. Pages that another node still has live on; threads that wait for something that only the dead node
// could give are told that it is lost; nobody waits for its acknowledgements.
#include <algorithm>

#include "coherence/core.h"

namespace gallocy::coherence {

void Core::node_died(NodeId node, std::uint64_t now, Effects& effects) {
  if (node == options_.self) return;
  now_ = now;
  any_death_ = true;
  // Of one that was gone when this node came: those who knew it may have dropped requests of this node because of it.
  if (!alive(node)) return ask_again_later();
  effects_ = &effects;
  note_presence(node, false);
  room_[node.value] = 0;
  receiving_[node.value] = {};
  std::erase_if(deferred_, [&](const Deferred& d) { return d.from == node; });
  retry_deferred();
  transactions_without(node);
  puts_without(node);
  last_death_ = now;
  ask_again(/*give_up=*/false);
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
    while (settle_one_without(block, node)) {
    }
    if (knows(block)) serve_queue(block);
  }
}

// Ends one transaction of the block that the death concerns. False: there is none, or it has to go on.
bool Core::settle_one_without(BlockId block, NodeId node) {
  const auto found = activity_.find(block);
  if (found == activity_.end()) return false;
  for (Transaction& t : found->second.open) {
    const std::size_t acks = t.acks.size();
    std::erase_if(t.acks, [&](const Ack& ack) { return ack.node == node; });
    if (acks != t.acks.size() && grant_acknowledged(block, &t)) return true;
    if (t.owner != node && t.requester != node) continue;
    if (t.owner != kNoNode && !alive(t.owner)) {
      if (t.await_done && t.requester != options_.self && alive(t.requester)) {
        if (!t.queried) query(block, t);
        continue;
      }
      without_owner(block, &t);
      return true;
    }
    if (t.owner != kNoNode && t.access == Access::kWrite) {
      // Perhaps the owner has not sent them to the dead yet. If it has, it will say so, and they are lost (on_decline).
      t.requester = options_.self;
      t.id = ++next_transaction_;
      send(t.owner, wire::MessageType::kPageForward,
           {.block = block.value,
            .pages = t.pages,
            .requester = options_.self.value,
            .origin = options_.self.value,
            .access = static_cast<std::uint8_t>(t.access),
            .home_version = block_state(block).home_version,
            .transaction = t.id});
    } else if (t.await_done) {
      // A read leaves the owner's copy and, once it has come, the home's; what was lent is lost.
      t.await_done = false;
      transfer_done(block, t);
      return true;
    }
  }
  return false;
}

// The owner of the pages died, and the requester does not have them, or is the only one that does. For a read the home
// may have them already.
void Core::without_owner(BlockId block, Transaction* t) {
  if (t->access == Access::kRead && !t->await_write_back && t->requester != options_.self) {
    send(t->requester, wire::MessageType::kPageData,
         {.block = block.value,
          .pages = t->pages,
          .requester = t->requester.value,
          .origin = options_.self.value,
          .access = static_cast<std::uint8_t>(Access::kRead),
          .flags = wire::kPageFromHome,
          .carried = t->pages,
          .home_version = block_state(block).home_version});
    t->await_done = false;
    return transfer_done(block, *t);
  }
  const Transaction lost = *t;
  close(block, t);
  RegionPages& r = region(block);
  for_each(lost.pages, [&](unsigned i) {
    r.entry(page_at(block, i)).owner = lost.owner.value;
    r.local(page_at(block, i)).lost = 1;
  });
  const wire::PageMessage m{.block = block.value,
                            .pages = lost.pages,
                            .requester = lost.requester.value,
                            .origin = lost.owner.value,
                            .flags = wire::kPageLost};
  if (lost.requester == options_.self) {
    on_decline(m);
  } else {
    send(lost.requester, wire::MessageType::kPageDecline, m);
  }
  serve_queue(block);
}

// Have the pages that a dead owner was to pass on reached the requester? It answers when it has heard of the death too,
// so when nothing more can come from the owner; if they have, its Done is here before the answer.
void Core::query(BlockId block, Transaction& t) {
  t.queried = true;
  send(t.requester, wire::MessageType::kPageInvalidate,
       {.block = block.value,
        .pages = t.pages,
        .requester = t.requester.value,
        .origin = options_.self.value,
        .flags = wire::kPageFence,
        .transaction = t.owner.value + 1u});
}

bool Core::on_query_answer(NodeId from, const wire::PageMessage& m) {
  const BlockId block{m.block};
  for (PageSet left = m.pages; left != 0;) {
    const PageSet page = left & -left;
    left &= ~page;
    Transaction* t = transaction_of(block, page);
    if (t == nullptr || !t->queried || t->requester != from || t->owner.value + 1u != m.transaction) continue;
    const PageSet pages = t->pages & m.pages;
    left &= ~pages;
    without_owner(block, split_off(block, t, pages));
  }
  return true;
}

// The request repeats one that is being served already.
bool Core::repeats(const wire::PageMessage& m) {
  const Transaction* t = transaction_of(BlockId{m.block}, set_of(m.demand));
  return m.transaction != 0 && t != nullptr && t->requester.value == m.requester;
}

// Whom to ask for pages of a block of which this node is not the home; kNoNode: nobody that lives knows. The anchor
// knows more than a node that only believed the dead one to be the home, but its chain of forwards may lead back to a
// former home.
NodeId Core::reachable_home(BlockId block) {
  const NodeId home = home_of(block), anchor = region(block).anchor(block, options_.nodes);
  if (alive(home)) return home;
  BlockState& state = block_state(block);
  if (const NodeId heir = heir_of(block, home); heir != kNoNode && heir != options_.self) {
    state.home_plus_one = static_cast<std::uint16_t>(heir.value + 1);
    return heir;
  }
  if (state.was_home != 0 || anchor == options_.self || !alive(anchor)) return kNoNode;
  state.home_plus_one = 0;
  state.home_version = 0;
  return anchor;
}

// Pages that this node had sent home to the dead one. It may have taken them and given them to somebody else, so they
// may not be used here any more.
void Core::puts_without(NodeId node) {
  std::vector<BlockId> blocks;
  for (const auto& [block, home] : puts_) {
    if (home == node) blocks.push_back(block);
  }
  std::ranges::sort(blocks);
  for (const BlockId block : blocks) {
    puts_.erase(block);
    PageSet back = 0;
    for (unsigned i = 0; i < kBlockPages; ++i) {
      LocalPage& p = local(page_at(block, i));
      if (p.evicting != 0) back |= set_of(i);
      evicting_ -= p.evicting;
      p.evicting = 0;
      p.putting = 0;
    }
    set_right(block, back, Access::kNone);
    lose(block, back, node);
  }
}

// After a death a request may have been lost with the dead node: as home, or because somebody who did not know of its
// death passed the request on to it. So what is not answered is asked again from time to time. A home drops the second
// of two waiting requests; one that was granted already is answered by a grant that the requester need not have. Only
// the second time a block without a living home is given up: until then the VMM log may tell where it went (home_hint).
void Core::ask_again(bool give_up) {
  std::vector<BlockId> blocks;
  for (const auto& [block, pages] : pending_) blocks.push_back(block);
  std::ranges::sort(blocks);
  for (const BlockId block : blocks) {
    const NodeId self = options_.self, dead = home_of(block), home = is_home(block) ? self : reachable_home(block);
    const PageSet asked = pending_.at(block) & ~(home == self ? waiting_at_home(block) : 0);
    if (home == kNoNode && give_up) lose(block, forget_pending(block, asked), dead);
    if (home == kNoNode) continue;
    for_each(asked, [&](unsigned i) {
      wire::PageMessage m{.block = block.value,
                          .pages = set_of(i),
                          .requester = self.value,
                          .origin = self.value,
                          .access = static_cast<std::uint8_t>(local(page_at(block, i)).pending()),
                          .demand = static_cast<std::uint8_t>(i)};
      if (home == self) {
        if (contains(pending_.contains(block) ? pending_.at(block) : 0, i)) serve(m);
        return;
      }
      m.transaction = 1;
      send(home, wire::MessageType::kPageRequest, m);
    });
  }
  ask_again_at_ = ~std::uint64_t{0};
  ask_again_later();
}

// Pages of a block whose home this node is, and for which its own request is known here. If the block came here after
// this node had asked, the request may have been lost with the former home.
PageSet Core::waiting_at_home(BlockId block) const {
  PageSet pages = 0;
  const auto found = activity_.find(block);
  if (found == activity_.end()) return 0;
  for (const Transaction& t : found->second.open) pages |= t.requester == options_.self ? t.pages : 0;
  for (const wire::PageMessage& m : found->second.queue) pages |= m.requester == options_.self.value ? m.pages : 0;
  return pages;
}

void Core::ask_again_later() {
  if (pending_.empty() || ask_again_at_ != ~std::uint64_t{0} || !any_death_) return;
  ask_again_at_ = now_ + kAskAgainUs;
  look_again_at(ask_again_at_);
}

}  // namespace gallocy::coherence
