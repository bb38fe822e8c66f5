// Memory larger than one node: a node has a budget of frames. Over it, stale frames go first, then read copies (their
// homes have the bytes), then owned pages (sent home by Put), then, where this node is the home, pages are lent to a
// node that has room: it becomes their owner without having asked (Lend), and later requests reach them there by the
// ordinary three-hop transfer.
//
// The order is an approximation of least-recently-used with two chances (Corbató, "A paging experiment with the Multics
// system", 1968; the hand goes round over blocks). A program's accesses do not show, only its faults do, so the hand
// first unmaps a block: if it is used again, that shows as a fault that needs no message.
#include <algorithm>

#include "base/check.h"
#include "coherence/core.h"

namespace gallocy::coherence {

void Core::list_block(BlockId block) {
  BlockState& state = block_state(block);
  if (state.listed != 0) return;
  state.listed = 1;
  blocks_with_frames_.push_back(block);
}

// Without any frame nothing could be touched.
std::uint64_t Core::budget() const {
  const std::uint64_t least = std::max<std::uint64_t>(1, options_.budget_pages / 16);
  return std::max(least, options_.budget_pages - std::min(options_.budget_pages, reserved_pages_));
}

void Core::reserve(std::uint64_t pages, std::uint64_t now, Effects& effects) {
  now_ = now;
  effects_ = &effects;
  reserved_pages_ = pages;
  keep_budget();
  effects_ = nullptr;
}

std::uint64_t Core::kept_pages() const {
  std::uint64_t pages = 0;
  for (const BlockId block : blocks_with_frames_) {
    RegionPages& r = *find(first_page(block));
    const bool at_home = is_home(block);
    for (unsigned i = 0; i < kBlockPages; ++i) {
      const LocalPage& p = r.local(page_at(block, i));
      pages += p.frame != 0 && (at_home || p.right() == Access::kWrite) ? 1 : 0;
    }
  }
  return pages;
}

void Core::keep_budget() {
  exhausted_ = false;
  // What is sent home by Put frees its frame when the acknowledgement comes.
  const std::uint64_t most = budget();
  if (frames_in_use_ - evicting_ <= most) return;
  // Down to 1/16 below the budget at once, so that not every fault evicts. The hand passes a block up to three times:
  // used lately, unmapped, evicted.
  const std::uint64_t goal = most - most / 16;
  for (const bool spill : {false, true}) {
    for (std::size_t steps = 3 * blocks_with_frames_.size(); steps > 0 && frames_in_use_ - evicting_ > goal; --steps) {
      const BlockId block = blocks_with_frames_.front();
      blocks_with_frames_.pop_front();
      blocks_with_frames_.push_back(block);
      BlockState& state = block_state(block);
      (void)drop_stale_frames(block);
      if (frames_in_use_ - evicting_ <= goal) return;
      if (state.recent != 0) {
        state.recent = 0;
        continue;
      }
      const std::uint64_t left = frames_in_use_ - evicting_ - goal;
      if (is_home(block) == spill) (void)(spill ? spill_block(block, left) : evict_block(block, left));
    }
    if (frames_in_use_ - evicting_ <= most) return;
  }
  exhausted_ = true;
}

void Core::trim(std::uint64_t now, Effects& effects) {
  now_ = now;
  effects_ = &effects;
  for (const BlockId block : blocks_with_frames_) (void)drop_stale_frames(block);
  effects_ = nullptr;
}

void Core::release(PageId first, std::uint64_t pages, std::uint64_t now, Effects& effects) {
  now_ = now;
  effects_ = &effects;
  const std::uint64_t end = first.value + pages;
  for (std::uint64_t at = first.value; at < end;) {
    const BlockId block = block_of(PageId{at});
    const unsigned index = index_in_block(PageId{at});
    const auto length = static_cast<unsigned>(std::min<std::uint64_t>(end - at, kBlockPages - index));
    at += length;
    RegionPages* r = find(first_page(block));
    if (r == nullptr || !is_home(block)) continue;
    PageSet idle = 0;
    for_each(run(index, length), [&](unsigned i) {
      const LocalPage& p = r->local(page_at(block, i));
      const DirectoryEntry& e = r->entry(page_at(block, i));
      const bool alone = e.state() == PageState::kHomeOnly && e.busy == 0;
      if (p.frame != 0 && alone && p.pending() == Access::kNone) idle |= set_of(i);
    });
    idle &= ~stuck(block, idle);
    if (idle == 0) continue;
    restrict(block, idle, Access::kNone);
    for_each(idle, [&](unsigned i) { r->local(page_at(block, i)).frame = 0; });
    frames_in_use_ -= count(idle);
    effects_->list.push_back({.kind = Effect::Kind::kDiscard, .block = block, .pages = idle});
  }
  effects_ = nullptr;
}

PageSet Core::being_received(BlockId block) const {
  PageSet pages = 0;
  for (std::uint16_t n = 0; n < numbers_; ++n) {
    if (receiving_[n].block == block) pages |= receiving_[n].pages;
  }
  return pages;
}

// Frames whose bytes this node has no right to any more.
std::uint64_t Core::drop_stale_frames(BlockId block) {
  RegionPages& r = region(block);
  const PageSet arriving = being_received(block);
  PageSet stale = 0;
  for (unsigned i = 0; i < kBlockPages; ++i) {
    LocalPage& p = r.local(page_at(block, i));
    const bool idle = p.right() == Access::kNone && p.pending() == Access::kNone && p.evicting == 0;
    if (p.frame == 0 || !idle || contains(arriving, i) || (is_home(block) && r.entry(page_at(block, i)).busy != 0))
      continue;
    stale |= set_of(i);
  }
  if (stale != 0) discard(block, stale);
  return count(stale);
}

void Core::discard(BlockId block, PageSet pages) {
  RegionPages& r = region(block);
  for_each(pages, [&](unsigned i) { r.local(page_at(block, i)).frame = 0; });
  frames_in_use_ -= count(pages);
  effects_->list.push_back({.kind = Effect::Kind::kDiscard, .block = block, .pages = pages});
}

// Gives up cached pages of a block whose home is elsewhere.
std::uint64_t Core::evict_block(BlockId block, std::uint64_t most) {
  RegionPages& r = region(block);
  PageSet copies = 0, owned = 0;
  for (unsigned i = 0; i < kBlockPages && count(copies | owned) < most; ++i) {
    const LocalPage& p = r.local(page_at(block, i));
    if (p.frame == 0 || p.pending() != Access::kNone || p.evicting != 0 || p.putting != 0 || p.waited != 0) continue;
    if (p.right() == Access::kRead) copies |= set_of(i);
    if (p.right() == Access::kWrite) owned |= set_of(i);
  }
  PageSet kept = stuck(block, copies | owned);
  for (const Deferred& d : deferred_) {
    if (d.message.block == block.value) kept |= d.message.pages;  // about to leave anyway, and the home counts on it
  }
  copies &= ~kept;
  owned &= ~kept;
  const NodeId home = home_of(block);
  const auto put = puts_.find(block);
  if (!alive(home) || (put != puts_.end() && put->second != home)) owned = 0;
  if (owned != 0 && now_ < puts_not_before_) {
    owned = 0;
    look_again_at(puts_not_before_);
  }
  if ((copies | owned) == 0) return 0;
  BlockState& state = r.block(block);
  restrict(block, copies | owned, Access::kNone);
  if (state.idle == 0) {  // the first chance
    state.idle = 1;
    return 0;
  }
  state.idle = 0;
  counters_.evicted += count(copies | owned);
  set_right(block, copies, Access::kNone);
  forget_history(block, copies | owned);
  for_each(owned, [&](unsigned i) {
    const PageId page = page_at(block, i);
    LocalPage& p = r.local(page);
    p.evicting = 1;
    p.putting = 1;
    ++evicting_;
    p.predicted = 0;
    checksums_.erase(page);
  });
  if (owned != 0) {
    puts_[block] = home;
    send(home, wire::MessageType::kPagePut,
         {.block = block.value,
          .pages = owned,
          .requester = options_.self.value,
          .origin = options_.self.value,
          .carried = owned});
  }
  return drop_stale_frames(block);
}

// Lends pages of which this home has the only copy to the node with the most room.
std::uint64_t Core::spill_block(BlockId block, std::uint64_t most) {
  RegionPages& r = region(block);
  PageSet alone = 0;
  for (unsigned i = 0; i < kBlockPages && count(alone) < most; ++i) {
    const LocalPage& p = r.local(page_at(block, i));
    const DirectoryEntry& e = r.entry(page_at(block, i));
    if (p.frame == 0 || p.waited != 0 || p.pending() != Access::kNone || e.busy != 0) continue;
    if (e.state() == PageState::kHomeOnly) alone |= set_of(i);
  }
  alone &= ~stuck(block, alone);
  NodeId roomiest = kNoNode;
  for (std::uint16_t n = 0; n < numbers_; ++n) {
    if (NodeId{n} == options_.self || !stays(NodeId{n}) || room_[n] < count(alone)) continue;
    if (roomiest == kNoNode || room_[n] > room_[roomiest.value]) roomiest = NodeId{n};
  }
  if (alone == 0 || roomiest == kNoNode) return 0;
  BlockState& state = r.block(block);
  restrict(block, alone, Access::kNone);
  if (state.idle == 0) {
    state.idle = 1;
    return 0;
  }
  state.idle = 0;
  (void)prediction_was_wrong(block, alone);
  set_right(block, alone, Access::kNone);
  forget_history(block, alone);
  for_each(alone, [&](unsigned i) {
    DirectoryEntry& e = r.entry(page_at(block, i));
    e.set(PageState::kExclusive);
    e.owner = roomiest.value;
    e.copyset = 0;
    e.busy = 1;  // until it says that it has them: a Put that it sent before must not be taken for a newer one
  });
  activity_[block].open.push_back({.pages = alone,
                                   .requester = roomiest,
                                   .access = Access::kWrite,
                                   .await_done = true,
                                   .id = ++next_transaction_,
                                   .lent = true});
  room_[roomiest.value] -= count(alone);  // until it announces its room again
  counters_.spilled += count(alone);
  send(roomiest, wire::MessageType::kPageLend,
       {.block = block.value,
        .pages = alone,
        .requester = roomiest.value,
        .origin = options_.self.value,
        .access = static_cast<std::uint8_t>(Access::kWrite),
        .carried = alone,
        .transaction = next_transaction_});
  discard(block, alone);
  return count(alone);
}

bool Core::on_put(NodeId owner, const wire::PageMessage& m) {
  const BlockId block{m.block};
  if (m.carried != m.pages) return false;
  if (!is_home(block)) {
    // The home has moved: the owner keeps the pages, and learns where to send them next time.
    wire::PageMessage refused = m;
    refused.carried = 0;
    refused.held = 0;
    refused.origin = home_of(block).value;
    refused.home_version = block_state(block).home_version;
    send(owner, wire::MessageType::kPagePutAck, refused);
    return true;
  }
  RegionPages& r = region(block);
  PageSet accepted = 0;
  for_each(m.pages, [&](unsigned i) {
    DirectoryEntry& e = r.entry(page_at(block, i));
    // Not arrived: this node became the home while the bytes were under way, and has not kept them.
    const bool here = contains(arrived_, i);
    if (!here || e.busy != 0 || e.state() != PageState::kExclusive || e.owner != owner.value) return;
    e.set(PageState::kHomeOnly);
    accepted |= set_of(i);
  });
  take_frames(block, accepted);
  set_right(block, accepted, Access::kWrite);
  counters_.pages_received += count(accepted);
  // Also not accepted are pages that the home has already told the owner to pass on: it keeps them until it does.
  wire::PageMessage ack = m;
  ack.carried = 0;
  ack.held = accepted;
  send(owner, wire::MessageType::kPagePutAck, ack);
  serve_queue(block);
  return true;
}

bool Core::on_put_ack(NodeId from, const wire::PageMessage& m) {
  const BlockId block{m.block};
  if (m.origin != options_.self.value) {  // refused
    learn_home(block, NodeId{m.origin}, m.home_version);
    // The home that this node knew is dead, and the log named a former one. Whom that one believes may be dead, too:
    // then the pages stay here, and are not sent again and again.
    BlockState& state = block_state(block);
    if (home_of(block) == from && state.was_home == 0) state.home_plus_one = static_cast<std::uint16_t>(m.origin + 1);
  }
  RegionPages& r = region(block);
  PageSet given = 0, back = 0;
  for_each(m.pages, [&](unsigned i) {
    LocalPage& p = r.local(page_at(block, i));
    p.putting = 0;
    if (p.evicting == 0) return;  // a Forward took it first, or the block's home has moved here
    p.evicting = 0;
    --evicting_;
    p.waited = 0;
    back |= set_of(i);
    if (contains(m.held, i)) given |= set_of(i);
  });
  // A home that is busy with a page refuses it until it is not; asking again at once would only keep both nodes busy.
  constexpr std::uint64_t kPauseUs = 200;
  if (back != given) puts_not_before_ = now_ + kPauseUs;
  set_right(block, given, Access::kNone);
  forget_history(block, given);
  PageSet putting = 0;
  for (unsigned i = 0; i < kBlockPages; ++i) putting |= r.local(page_at(block, i)).putting != 0 ? set_of(i) : 0;
  if (putting == 0) puts_.erase(block);
  (void)drop_stale_frames(block);
  if (back != 0) wake(block, back);
  return true;
}

bool Core::on_lend(NodeId from, const wire::PageMessage& m) {
  const BlockId block{m.block};
  if (is_home(block) || m.carried != m.pages) return false;
  take_frames(block, m.pages);
  set_right(block, m.pages, Access::kWrite);
  counters_.pages_received += count(m.carried);
  wire::PageMessage done = m;
  done.carried = 0;
  send(from, wire::MessageType::kPageDone, done);
  return true;
}

}  // namespace gallocy::coherence
