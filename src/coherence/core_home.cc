// What a node does as the home of a block: it keeps the directory, serialises requests for each page, and sees to it
// that a page is taken away from those who have it before it is granted to somebody else.
#include <algorithm>

#include "base/check.h"
#include "coherence/core.h"

namespace gallocy::coherence {

// A block nobody used: the home may do everything with its pages, which read as zero.
void Core::initialise(BlockId block) {
  BlockState& state = block_state(block);
  if (state.initialised != 0) return;
  state.initialised = 1;
  homes_.insert(block);
  set_right(block, ~PageSet{0}, Access::kWrite);
}

bool Core::on_request(NodeId, const wire::PageMessage& m) {
  const bool sensible = m.access != 0 && contains(m.pages, m.demand) && m.requester < options_.nodes;
  if (sensible && alive(NodeId{m.requester})) serve(m);
  return sensible;
}

// Grants, forwards, queues or declines. The demanded page is never declined: if it is busy, or may not leave this node
// yet, the request waits in the block's queue.
void Core::serve(const wire::PageMessage& m) {
  const BlockId block{m.block};
  const NodeId requester{m.requester};
  if (!is_home(block)) {
    const NodeId home = reachable_home(block);
    if (home == kNoNode && now_ - last_death_ < kAskAgainUs) return;  // the requester asks again, and we may know more
    if (home == kNoNode) return decline(block, requester, m.pages, wire::kPageLost);
    wire::PageMessage forwarded = m;
    forwarded.held = 0;  // it may have been overtaken by what happened to those copies since
    return send(home, wire::MessageType::kPageRequest, forwarded);
  }
  const bool untouched = block_state(block).initialised == 0;
  if (untouched && keeps_untouched_) return for_the_next_anchor_.push_back(m);
  if (untouched && requester != options_.self && region(block).spec().placement == PlacementKind::kFirstTouch) {
    return hand_over_untouched(m);
  }
  initialise(block);

  if (requester == options_.self && local(page_at(block, m.demand)).pending() == Access::kNone) return;  // answered
  if (repeats(m)) return;
  if (local(page_at(block, m.demand)).lost != 0) {
    const PageSet wishes = m.pages & ~set_of(m.demand);
    if (wishes != 0) decline(block, requester, wishes, 0);
    return decline(block, requester, set_of(m.demand), wire::kPageLost);
  }

  // A page that the home had got by prediction: did it write?
  if (requester != options_.self && prediction_was_wrong(block, set_of(m.demand)))
    entry(page_at(block, m.demand)).migratory = 0;
  const DirectoryEntry demanded = entry(page_at(block, m.demand));
  const bool predicted = predicts_write(demanded, m);
  const Access access = predicted ? Access::kWrite : static_cast<Access>(m.access);
  const PageSet group = served_with(m, access);
  if (!contains(group, m.demand)) {
    // Only the demanded page waits. If the wishes did too, whoever needs one of them at the requester's would wait for
    // the demanded page, and two nodes that pin pages in ascending order could wait for each other.
    wire::PageMessage demand = m;
    demand.pages = set_of(m.demand);
    if (m.pages != demand.pages) decline(block, requester, m.pages & ~demand.pages, 0);
    auto& queue = activity_[block].queue;
    const bool asked_twice = std::ranges::any_of(queue, [&](const wire::PageMessage& q) {
      return q.requester == demand.requester && q.demand == demand.demand;
    });
    if (!asked_twice) queue.push_back(demand);
    return;
  }
  if ((m.pages & ~group) != 0) decline(block, requester, m.pages & ~group, 0);

  const std::uint8_t flags = predicted ? wire::kPagePredicted : 0;
  const bool elsewhere = demanded.state() == PageState::kExclusive;
  if (elsewhere && demanded.owner == requester.value) {
    // It was lent to the requester after that had asked (see core_budget.cc).
    wire::PageMessage data{.block = m.block,
                           .pages = group,
                           .requester = m.requester,
                           .origin = options_.self.value,
                           .access = static_cast<std::uint8_t>(Access::kWrite),
                           .flags = wire::kPageFromHome};
    data.home_version = block_state(block).home_version;
    send(requester, wire::MessageType::kPageData, data);
  } else if (elsewhere) {
    forward_to_owner(block, group, m, access, flags);
  } else if (access == Access::kRead) {
    grant_read(block, group, requester);
  } else {
    revoke_then_grant_write(block, group, m, flags);
  }
}

bool Core::predicts_write(const DirectoryEntry& e, const wire::PageMessage& m) const {
  return options_.predict_migratory && m.access == static_cast<std::uint8_t>(Access::kRead) && e.migratory != 0 &&
         e.state() != PageState::kShared;
}

// Those of the request's pages that can be served in one transaction with the demanded one: free, and in the same
// place. Empty of the demanded page: it has to wait.
PageSet Core::served_with(const wire::PageMessage& m, Access access) {
  const BlockId block{m.block};
  RegionPages& r = region(block);
  const DirectoryEntry& demanded = r.entry(page_at(block, m.demand));
  const bool elsewhere = demanded.state() == PageState::kExclusive;
  const bool predicted = static_cast<Access>(m.access) != access;
  // A page that its owner is sending home is as good as busy: if it went elsewhere meanwhile, what is still arriving
  // would overwrite what comes back from there.
  const PageSet arriving = being_received(block);
  PageSet group = 0, taken_from_here = 0;
  for_each(m.pages, [&](unsigned i) {
    const PageId page = page_at(block, i);
    const DirectoryEntry& e = r.entry(page);
    if (e.busy != 0 || contains(arriving, i) || r.local(page).lost != 0 ||
        (e.state() == PageState::kExclusive) != elsewhere)
      return;
    if (elsewhere && e.owner != demanded.owner) return;
    if (predicted && i != m.demand && !predicts_write(e, m)) return;
    group |= set_of(i);
    const Access stays = access == Access::kRead ? Access::kRead : Access::kNone;
    if (r.local(page).mapped() > stays) taken_from_here |= set_of(i);
  });
  if (NodeId{m.requester} == options_.self) return group;
  return group & ~(frozen(block) | stuck_or_locked(block, taken_from_here));
}

void Core::decline(BlockId block, NodeId requester, PageSet pages, std::uint8_t flags) {
  const NodeId lost_with = (flags & wire::kPageLost) != 0 ? home_of(block) : options_.self;
  const wire::PageMessage m{
      .block = block.value, .pages = pages, .requester = requester.value, .origin = lost_with.value, .flags = flags};
  if (requester == options_.self) {
    on_decline(m);
  } else {
    send(requester, wire::MessageType::kPageDecline, m);
  }
}

// The home's frames are valid and nobody may write, or only the home, which stops.
void Core::grant_read(BlockId block, PageSet pages, NodeId requester) {
  if (requester == options_.self) {
    forget_pending(block, pages);
    PageSet alone = 0;
    for_each(pages, [&](unsigned i) {
      if (entry(page_at(block, i)).state() == PageState::kHomeOnly) alone |= set_of(i);
    });
    if (alone != 0) install(block, alone, Access::kWrite, 0);
    if (alone != pages) install(block, pages & ~alone, Access::kRead, 0);
    return;
  }
  RegionPages& r = region(block);
  for_each(pages, [&](unsigned i) {
    DirectoryEntry& e = r.entry(page_at(block, i));
    if (e.state() == PageState::kHomeOnly) {
      e.set(PageState::kShared);
      e.copyset = 0;
      e.owner = options_.self.value;
    }
    e.copyset = e.copyset | copyset_bit(requester);
  });
  (void)prediction_was_wrong(block, pages);  // of the wishes, too late to matter
  restrict(block, pages, Access::kRead);
  set_right(block, pages, Access::kRead);
  block_state(block).writer_grants = 0;
  send(requester, wire::MessageType::kPageData,
       {.block = block.value,
        .pages = pages,
        .requester = requester.value,
        .origin = options_.self.value,
        .access = static_cast<std::uint8_t>(Access::kRead),
        .flags = wire::kPageFromHome,
        .carried = pages,
        .home_version = block_state(block).home_version});
}

void Core::revoke_then_grant_write(BlockId block, PageSet pages, const wire::PageMessage& request, std::uint8_t flags) {
  const NodeId requester{request.requester};
  RegionPages& r = region(block);
  Transaction t{.pages = pages,
                .held = request.held,
                .requester = requester,
                .demand = request.demand,
                .line = request.line,
                .access = Access::kWrite,
                .flags = flags};
  std::uint64_t readers = 0;
  for_each(pages, [&](unsigned i) { readers |= r.entry(page_at(block, i)).copyset; });
  for (; readers != 0; readers &= readers - 1) {
    const auto bit = static_cast<unsigned>(std::countr_zero(readers));
    PageSet shared = 0;
    for_each(pages,
             [&](unsigned i) { shared |= (r.entry(page_at(block, i)).copyset >> bit & 1) != 0 ? set_of(i) : 0; });
    for (unsigned n = bit; n < numbers_; n += kCopysetBits) {
      const NodeId reader{static_cast<std::uint16_t>(n)};
      if (reader != requester && reader != options_.self && alive(reader)) t.acks.push_back({reader, shared});
    }
  }
  if (t.acks.empty()) return grant_write(block, t);
  if (requester != options_.self) {
    // This node stops first: a page that it may not take away from itself later (pinned, in its hold) would block the
    // grant when the acknowledgements are here. Its frames keep the bytes.
    restrict(block, pages, Access::kNone);
    set_right(block, pages, Access::kNone);
  }
  for_each(pages, [&](unsigned i) { r.entry(page_at(block, i)).busy = 1; });
  for (const Ack& ack : t.acks) {
    send(ack.node, wire::MessageType::kPageInvalidate,
         {.block = block.value, .pages = ack.pages, .requester = requester.value, .origin = options_.self.value});
  }
  auto& open = activity_[block].open;
  open.push_back(std::move(t));
  (void)grant_acknowledged(block, &open.back());  // pages that nobody reads need not wait for the others
}

// Nobody but this node and the requester has the pages. If the requester died meanwhile they stay here.
void Core::grant_write(BlockId block, const Transaction& t) {
  RegionPages& r = region(block);
  const NodeId requester = alive(t.requester) ? t.requester : options_.self;
  const PageSet pages = t.pages, held = t.held;
  note_writer(block, t);
  PageSet carried = 0;
  for_each(pages, [&](unsigned i) {
    DirectoryEntry& e = r.entry(page_at(block, i));
    const bool has_copy = exact_copysets() && e.state() == PageState::kShared && contains(held, i) &&
                          (e.copyset & copyset_bit(requester)) != 0;
    carried |= has_copy ? 0 : set_of(i);
    e.set(requester == options_.self ? PageState::kHomeOnly : PageState::kExclusive);
    e.owner = requester.value;
    e.copyset = 0;
  });
  if (requester == options_.self) {
    forget_pending(block, pages);
    return install(block, pages, Access::kWrite, 0);
  }
  (void)prediction_was_wrong(block, pages);
  restrict(block, pages, Access::kNone);
  set_right(block, pages, Access::kNone);
  send(requester, wire::MessageType::kPageData,
       {.block = block.value,
        .pages = pages,
        .requester = requester.value,
        .origin = options_.self.value,
        .access = static_cast<std::uint8_t>(Access::kWrite),
        .flags = static_cast<std::uint8_t>(wire::kPageFromHome | t.flags),
        .carried = carried,
        .home_version = block_state(block).home_version});
  consider_move(block, requester);
}

void Core::forward_to_owner(BlockId block, PageSet pages, const wire::PageMessage& request, Access access,
                            std::uint8_t flags) {
  RegionPages& r = region(block);
  const NodeId requester{request.requester};
  const NodeId owner{static_cast<std::uint16_t>(r.entry(page_at(block, request.demand)).owner)};
  if (!alive(owner)) {
    for_each(pages, [&](unsigned i) { r.local(page_at(block, i)).lost = 1; });
    const wire::PageMessage lost{.block = block.value,
                                 .pages = pages,
                                 .requester = requester.value,
                                 .origin = owner.value,
                                 .flags = wire::kPageLost};
    if (requester == options_.self) {
      on_decline(lost);
    } else {
      send(requester, wire::MessageType::kPageDecline, lost);
    }
    return;
  }
  for_each(pages, [&](unsigned i) { r.entry(page_at(block, i)).busy = 1; });
  const std::uint32_t id = ++next_transaction_;
  activity_[block].open.push_back({.pages = pages,
                                   .held = request.held,
                                   .requester = requester,
                                   .owner = owner,
                                   .demand = request.demand,
                                   .line = request.line,
                                   .access = access,
                                   .flags = flags,
                                   .await_write_back = access == Access::kRead && requester != options_.self,
                                   .await_done = true,
                                   .id = id});
  send(owner, wire::MessageType::kPageForward,
       {.block = block.value,
        .pages = pages,
        .requester = requester.value,
        .origin = options_.self.value,
        .access = static_cast<std::uint8_t>(access),
        .flags = flags,
        .home_version = block_state(block).home_version,
        .transaction = id});
}

// Keeps the history that predictions, home moves and the sharing report rest on.
void Core::note_writer(BlockId block, const Transaction& t) {
  RegionPages& r = region(block);
  for_each(t.pages, [&](unsigned i) {
    const PageId page = page_at(block, i);
    DirectoryEntry& e = r.entry(page);
    const NodeId before =
        e.state() == PageState::kHomeOnly ? options_.self : NodeId{static_cast<std::uint16_t>(e.owner)};
    if (before == t.requester) return;
    // Migratory: a node wrote that had just read, and nobody else had read meanwhile (Stenström, Brorsson, Sandberg,
    // "An adaptive cache coherence protocol optimized for migratory sharing", ISCA 1993).
    const std::uint64_t two = copyset_bit(t.requester) | copyset_bit(before);
    if (e.state() == PageState::kShared && (contains(t.held, i) || t.requester == options_.self)) {
      const bool only_two = exact_copysets() && (e.copyset & ~two) == 0;
      e.migratory = only_two ? std::min<unsigned>(e.migratory + 1u, 3u) : 0;
    }
    note_hand_over(page, before, t.requester, i == t.demand ? std::uint64_t{1} << (t.line & 63) : 0);
  });
}

void Core::note_hand_over(PageId page, NodeId before, NodeId writer, std::uint64_t lines) {
  constexpr std::size_t kMostPages = 4096;  // 64 bytes each; when full, pages that were handed over once make room
  if (hand_overs_.size() >= kMostPages && !hand_overs_.contains(page)) {
    std::erase_if(hand_overs_, [](const auto& item) { return item.second.hand_overs <= 1; });
    if (hand_overs_.size() >= kMostPages) return;
  }
  SharedPage& shared = hand_overs_[page];
  shared.page = page;
  ++shared.hand_overs;
  const auto note = [&](NodeId node, std::uint64_t touched) {
    for (SharedPage::Writer& w : shared.writers) {
      if (w.node != node && w.node != kNoNode) continue;
      w.node = node;
      w.lines |= touched;
      return;
    }
  };
  note(before, 0);
  note(writer, lines);
}

// ---------------------------------------------------------------------------------------------- transactions

Core::Transaction* Core::transaction_of(BlockId block, PageSet pages) {
  const auto found = activity_.find(block);
  if (found == activity_.end()) return nullptr;
  for (Transaction& t : found->second.open) {
    if ((t.pages & pages) != 0) return (pages & ~t.pages) == 0 ? &t : nullptr;
  }
  return nullptr;
}

// A three-hop transfer: finished when the requester has the pages and, for a read, the home has them too.
void Core::transfer_done(BlockId block, Transaction& t) {
  if (t.await_done || t.await_write_back) return;
  const NodeId requester = t.requester, owner = t.owner;
  const bool clean = (t.flags & wire::kPageClean) != 0;
  const std::uint8_t predicted = t.flags & wire::kPagePredicted;
  const Access access = t.access;
  const PageSet pages = t.pages;
  const bool lent = t.lent;
  if (access == Access::kWrite && !lent) note_writer(block, t);
  close(block, &t);
  RegionPages& r = region(block);
  for_each(pages, [&](unsigned i) {
    DirectoryEntry& e = r.entry(page_at(block, i));
    if (clean) e.migratory = 0;
    if (access == Access::kRead) {
      e.set(PageState::kShared);
      e.copyset = copyset_bit(owner);
      if (requester != options_.self) e.copyset = e.copyset | copyset_bit(requester);
    } else {
      e.set(requester == options_.self ? PageState::kHomeOnly : PageState::kExclusive);
      e.owner = requester.value;
      e.copyset = 0;
    }
  });
  if (requester == options_.self) {
    install(block, pages, access, predicted);
  } else if (access == Access::kRead) {
    take_frames(block, pages);
    set_right(block, pages, Access::kRead);
  }
  if (lent) {
    // says nothing about who writes
  } else if (access == Access::kWrite) {
    consider_move(block, requester);
  } else {
    block_state(block).writer_grants = 0;
  }
  serve_queue(block);
}

void Core::close(BlockId block, Transaction* t) {
  RegionPages& r = region(block);
  for_each(t->pages, [&](unsigned i) { r.entry(page_at(block, i)).busy = 0; });
  Activity& activity = activity_.at(block);
  activity.open.erase(activity.open.begin() + (t - activity.open.data()));
  if (activity.empty()) activity_.erase(block);
}

// Requests whose page is free now, in order of arrival. A request that has to wait again keeps its place.
void Core::serve_queue(BlockId block) {
  const auto found = activity_.find(block);
  if (found == activity_.end() || found->second.queue.empty()) return;
  std::deque<wire::PageMessage> waiting;
  waiting.swap(found->second.queue);
  if (found->second.empty()) activity_.erase(found);
  PageSet passed_over = 0;
  for (const wire::PageMessage& m : waiting) {
    if (!alive(NodeId{m.requester})) continue;
    // Not past an earlier request for the same page.
    if (contains(passed_over, m.demand) && is_home(block)) {
      activity_[block].queue.push_back(m);
      continue;
    }
    serve(m);
    if (const auto now_open = activity_.find(block); now_open != activity_.end() && !now_open->second.queue.empty())
      passed_over |= set_of(now_open->second.queue.back().demand);
  }
}

bool Core::on_write_back(NodeId from, const wire::PageMessage& m) {
  const BlockId block{m.block};
  Transaction* t = is_home(block) ? transaction_of(block, m.pages) : nullptr;
  if (m.carried != m.pages) return false;
  if (t == nullptr || t->id != m.transaction) return is_home(block);  // a death has made it void
  if (t->owner != from || !t->await_write_back) return false;
  t = split_off(block, t, m.pages);
  t->await_write_back = false;
  t->flags |= m.flags & wire::kPageClean;
  counters_.pages_received += count(m.carried);
  transfer_done(block, *t);
  return true;
}

bool Core::on_done(NodeId from, const wire::PageMessage& m) {
  const BlockId block{m.block};
  Transaction* t = is_home(block) ? transaction_of(block, m.pages) : nullptr;
  if (t == nullptr || t->id != m.transaction) return true;  // a death has made it void
  if (t->requester != from || !t->await_done) return false;
  t = split_off(block, t, m.pages);
  t->await_done = false;
  t->flags |= m.flags & wire::kPageClean;
  if (t->await_write_back && !alive(t->owner)) {
    without_owner(block, t);
  } else {
    transfer_done(block, *t);
  }
  return true;
}

bool Core::on_invalidate_ack(NodeId from, const wire::PageMessage& m) {
  const BlockId block{m.block};
  if (m.transaction != 0) return !is_home(block) || on_query_answer(from, m);
  Transaction* t = is_home(block) ? transaction_of(block, m.pages) : nullptr;
  if (t == nullptr) return false;
  const auto acked = std::ranges::find_if(t->acks, [&](const Ack& a) { return a.node == from; });
  if (acked == t->acks.end() || (m.pages & ~acked->pages) != 0) return false;
  acked->pages &= ~m.pages;
  if (acked->pages == 0) t->acks.erase(acked);
  if (grant_acknowledged(block, t)) serve_queue(block);
  return true;
}

// Grants those pages of which nobody has a copy any more. A reader acknowledges some pages before the others when it
// has pinned those or they are in their minimum hold; a fence is acknowledged whole.
bool Core::grant_acknowledged(BlockId block, Transaction* t) {
  PageSet awaited = 0;
  for (const Ack& ack : t->acks) awaited |= ack.pages;
  const PageSet kept = frozen(block);
  if (kept != 0 && (t->flags & wire::kPageFence) != 0) return false;
  awaited |= kept;
  if ((t->pages & ~awaited) == 0) return false;
  t = split_off(block, t, t->pages & ~awaited);
  const Transaction done = *t;
  close(block, t);
  if ((done.flags & wire::kPageFence) == 0) {
    grant_write(block, done);
  } else if (stays(done.requester)) {
    hand_over(block, done.requester);
  }
  return true;
}

// Acknowledgements that came while pages were frozen.
void Core::grant_thawed() {
  std::vector<BlockId> open;
  for (const auto& [block, activity] : activity_) {
    if (!activity.open.empty()) open.push_back(block);
  }
  std::ranges::sort(open);  // the order of a hash table must not show
  for (const BlockId block : open) {
    std::vector<PageSet> revoked;
    for (const Transaction& t : activity_.at(block).open) {
      const bool revokes = t.owner == kNoNode && !t.await_done && !t.await_write_back && !t.lent && !t.queried;
      if (revokes) revoked.push_back(t.pages);
    }
    for (const PageSet pages : revoked) {
      Transaction* const t = transaction_of(block, pages);
      if (t != nullptr && grant_acknowledged(block, t)) serve_queue(block);
    }
  }
}

// Some pages of a transaction get on faster than the others. Returns the one that has exactly `pages`.
Core::Transaction* Core::split_off(BlockId block, Transaction* t, PageSet pages) {
  if (t->pages == pages) return t;
  Transaction part = *t;
  part.pages = pages;
  for (Ack& ack : part.acks) ack.pages &= pages;
  std::erase_if(part.acks, [](const Ack& ack) { return ack.pages == 0; });
  t->pages &= ~pages;
  for (Ack& ack : t->acks) ack.pages &= ~pages;
  std::erase_if(t->acks, [](const Ack& ack) { return ack.pages == 0; });
  auto& open = activity_.at(block).open;
  open.push_back(std::move(part));
  return &open.back();
}

}  // namespace gallocy::coherence
