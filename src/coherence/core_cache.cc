// What a node does as requester, reader and owner of pages.
#include <algorithm>

#include "base/check.h"
#include "coherence/core.h"

namespace gallocy::coherence {
namespace {

// Pages that came together are worked on together. If one of them left at once the thread would soon stop for it.
constexpr std::uint64_t kHoldPerPageUs = 4, kLongestHoldUs = 200;

}  // namespace

FaultOutcome Core::fault(PageId page, Access want, std::uint64_t now, Effects& effects, std::uint64_t hold_us,
                         unsigned line) {
  now_ = now;
  effects_ = &effects;
  if (hold_us != 0) longer_hold_us_[page] = hold_us;
  faulting_ = page;
  (want == Access::kWrite ? counters_.write_faults : counters_.read_faults) += 1;
  const BlockId block = block_of(page);
  LocalPage& p = local(page);
  const auto outcome = [&] {
    if (p.lost != 0) return FaultOutcome::kLost;
    if (p.mapped() >= want) return FaultOutcome::kResolved;
    if (is_home(block)) initialise(block);
    block_state(block).recent = 1;
    const bool marker = p.prefetched != 0;
    if (p.sample != 0) {
      p.sample = 0;
      grow_again(block_state(block), p.right());
    }
    const auto advice = streams_.fault(page, want, marker);
    const PageId behind{first_page(block).value +
                        std::min<std::size_t>(index_in_block(page) + advice.pages, kBlockPages)};
    p.prefetched = 0;
    if (p.right() >= want && p.evicting == 0) {
      ++counters_.local_faults;
      hold(page, 0);
      map_run(page, want, advice.pages);
      if (marker) read_ahead(behind, want, advice.blocks_ahead);
      return FaultOutcome::kResolved;
    }
    p.waited = 1;
    if (p.pending() != Access::kNone || p.evicting != 0) {
      if (marker) read_ahead(behind, want, advice.blocks_ahead);
      return FaultOutcome::kPending;
    }
    const unsigned stream = std::min<unsigned>(advice.pages, kBlockPages - index_in_block(page));
    streams_.extend(page, stream);
    request(page, want, run(index_in_block(page), stream) | revisited(page, want), line);
    read_ahead(behind, want, advice.blocks_ahead);
    if (p.lost != 0) return FaultOutcome::kLost;
    return p.mapped() >= want ? FaultOutcome::kResolved : FaultOutcome::kPending;
  }();
  keep_budget();
  effects_ = nullptr;
  faulting_.reset();
  return outcome;
}

// Maps the page and, in a stream, those behind it that need no message either. Each is mapped as far as its right goes:
// a page this node owns becomes writable even on a read (exclusive-clean), so that the write that often follows costs
// no second fault.
void Core::map_run(PageId page, Access want, unsigned pages) {
  const BlockId block = block_of(page);
  RegionPages& r = region(block);
  const unsigned first = index_in_block(page);
  PageSet readable = 0, writable = 0;
  unsigned i = first;
  for (; i < std::min<unsigned>(first + pages, kBlockPages); ++i) {
    const LocalPage& p = r.local(page_at(block, i));
    if (p.right() < want || p.mapped() >= want || p.evicting != 0 || ((p.prefetched | p.sample) != 0 && i != first))
      break;
    (p.right() == Access::kWrite ? writable : readable) |= set_of(i);
  }
  take_frames(block, readable | writable);
  if (readable != 0) protect(block, readable, Access::kRead);
  if (writable != 0) protect(block, writable, Access::kWrite);
  streams_.extend(page, i - first);
  wake(block, readable | writable);
}

// Asks the home for the page and for others of its block (wishes, which the home may decline).
void Core::request(PageId page, Access want, PageSet pages, unsigned line) {
  const BlockId block = block_of(page);
  RegionPages& r = region(block);
  wire::PageMessage m{.block = block.value,
                      .requester = options_.self.value,
                      .origin = options_.self.value,
                      .access = static_cast<std::uint8_t>(want),
                      .demand = static_cast<std::uint8_t>(index_in_block(page)),
                      .line = static_cast<std::uint8_t>(line)};
  for_each(pages, [&](unsigned i) {
    LocalPage& p = r.local(page_at(block, i));
    if (p.right() >= want || p.pending() != Access::kNone || p.evicting != 0 || p.lost != 0) return;
    p.set_pending(want);
    m.pages |= set_of(i);
    // After a death a request may be answered by the answer to an older one, when the copy is not here any more.
    if (p.right() == Access::kRead && !any_death_) m.held |= set_of(i);
  });
  pending_[block] |= m.pages;
  list_block(block);
  counters_.prefetched += count(m.pages) - 1;
  if (is_home(block)) {
    serve(m);
  } else {
    const NodeId home = reachable_home(block);
    if (home != kNoNode) send(home, wire::MessageType::kPageRequest, m);
    ask_again_later();
  }
}

// Asks for the blocks from `next` on before anybody needs them. The first page of each is a marker: it is not mapped
// when it comes, so that touching it shows (by a fault that needs no message) that the stream goes on.
void Core::read_ahead(PageId next, Access want, unsigned blocks) {
  if (options_.longest_run < kBlockPages || index_in_block(next) != 0) return;
  for (; blocks > 0; --blocks, next.value += kBlockPages) {
    RegionPages* r = find(next);
    if (r == nullptr || is_home(block_of(next))) return;
    LocalPage& marker = r->local(next);
    if (marker.pending() != Access::kNone || (marker.prefetched != 0 && marker.right() >= want)) continue;
    if (marker.right() >= want || marker.evicting != 0 || marker.lost != 0) return;
    marker.prefetched = 1;
    streams_.extend(next, kBlockPages);
    request(next, want, ~PageSet{0}, 0);
  }
}

// The pages are ours with `access`, and their bytes are in the frames.
void Core::install(BlockId block, PageSet pages, Access access, std::uint8_t flags) {
  RegionPages& r = region(block);
  PageSet to_map = pages;
  for_each(pages, [&](unsigned i) {
    const PageId page = page_at(block, i);
    LocalPage& p = r.local(page);
    p.set_right(access);
    p.had_bits = 0;
    stamp(p);
    if (!locked_until_.empty()) locked_until_.erase(page);
    if ((p.prefetched | p.sample) != 0) to_map &= ~set_of(i);
    if (p.waited != 0) hold(page, options_.minimum_hold_us);
    p.waited = 0;
    if ((flags & wire::kPagePredicted) != 0) {
      p.predicted = 1;
      checksums_[page] = frames_.checksum(page);
    }
  });
  if (access == Access::kWrite && options_.minimum_hold_us != 0 && count(pages) > 1) {
    hold_all(block, pages, std::min(count(pages) * kHoldPerPageUs, kLongestHoldUs));
  }
  take_frames(block, pages);
  protect(block, to_map, access);
  wake(block, pages);
}

// Of the pages: those that were asked for and not answered. They no longer are.
PageSet Core::forget_pending(BlockId block, PageSet pages) {
  const auto found = pending_.find(block);
  if (found == pending_.end()) return 0;
  const PageSet answered = found->second & pages;
  found->second &= ~answered;
  if (found->second == 0) pending_.erase(found);
  RegionPages& r = region(block);
  for_each(answered, [&](unsigned i) { r.local(page_at(block, i)).set_pending(Access::kNone); });
  return answered;
}

// A write grant is the only copy and never refused, even if it is not waited for any more: after a death a request may
// have been sent twice (ask_again). What this node owns already was lent to it meanwhile.
void Core::accept(BlockId block, const wire::PageMessage& m, PageSet wanted) {
  RegionPages& r = region(block);
  PageSet owned = 0;
  for_each(m.pages, [&](unsigned i) {
    if (r.local(page_at(block, i)).right() == Access::kWrite) owned |= set_of(i);
  });
  const auto access = static_cast<Access>(m.access);
  if ((owned & wanted) != 0) wake(block, owned & wanted);
  const PageSet taken = (access == Access::kWrite ? m.pages & ~(m.carried & ~arrived_) : wanted) & ~owned;
  if (taken != 0) install(block, taken, access, m.flags);
}

bool Core::on_data(NodeId from, const wire::PageMessage& m) {
  const BlockId block{m.block};
  const auto access = static_cast<Access>(m.access);
  if (access == Access::kNone || m.requester != options_.self.value) return false;
  if ((m.flags & wire::kPageFromHome) != 0) learn_home(block, from, m.home_version);
  const PageSet unread = m.carried & ~arrived_;  // not wanted when the bytes came: answers a request made twice
  const PageSet wanted = forget_pending(block, m.pages & ~unread);
  counters_.pages_received += count(m.carried);
  if (is_home(block)) {
    Transaction* t = transaction_of(block, m.pages);
    if (t == nullptr || t->id != m.transaction) return true;  // a death has made it void
    if (t->requester != options_.self) return false;
    t = split_off(block, t, m.pages);
    t->await_done = false;
    t->flags |= m.flags & wire::kPageClean;
    transfer_done(block, *t);
    return true;
  }
  accept(block, m, wanted);
  if ((m.flags & wire::kPageFromHome) == 0) {  // a three-hop transfer: the home waits to hear that it has arrived
    wire::PageMessage done = m;
    done.carried = 0;
    send(NodeId{m.origin}, wire::MessageType::kPageDone, done);
  }
  return true;
}

bool Core::on_decline(const wire::PageMessage& m) {
  const BlockId block{m.block};
  const bool lost = (m.flags & wire::kPageLost) != 0;
  if (m.requester != options_.self.value) return is_home(block) && lost && owner_lost(block, m);
  if (is_home(block) && lost) {
    Transaction* t = transaction_of(block, m.pages);
    for_each(m.pages, [&](unsigned i) { local(page_at(block, i)).lost = 1; });
    if (t != nullptr) {
      close(block, split_off(block, t, m.pages));
      serve_queue(block);
    }
  }
  const PageSet pages = forget_pending(block, m.pages);
  RegionPages& r = region(block);
  for_each(pages, [&](unsigned i) { r.local(page_at(block, i)).prefetched = r.local(page_at(block, i)).sample = 0; });
  counters_.declined += count(pages);
  if (lost) {
    lose(block, pages, NodeId{m.origin});
  } else if (pages != 0) {
    wake(block, pages);
  }
  return true;
}

// The owner, whom the home has asked to pass the pages on to another node, has lost them.
bool Core::owner_lost(BlockId block, const wire::PageMessage& m) {
  Transaction* t = transaction_of(block, m.pages);
  if (t == nullptr || t->id != m.transaction) return true;  // a death has made it void
  const NodeId requester = t->requester;
  for_each(m.pages, [&](unsigned i) { local(page_at(block, i)).lost = 1; });
  close(block, split_off(block, t, m.pages));
  decline(block, requester, m.pages, wire::kPageLost);
  serve_queue(block);
  return true;
}

// The home asks this node, the owner, to pass the pages on to the requester.
bool Core::on_forward(NodeId from, const wire::PageMessage& m) {
  const BlockId block{m.block};
  RegionPages& r = region(block);
  if (m.requester == from.value) {  // it asks for itself: a request of a node that died and may wait here is void
    for (Deferred& d : deferred_) {
      if (d.type == wire::MessageType::kPageForward && d.message.block == m.block) d.message.pages &= ~m.pages;
    }
    std::erase_if(deferred_, [](const Deferred& d) { return d.message.pages == 0; });
  }
  PageSet owned = 0;
  for_each(m.pages, [&](unsigned i) { owned |= r.local(page_at(block, i)).right() == Access::kWrite ? set_of(i) : 0; });
  PageSet lost = 0;
  for_each(m.pages & ~owned, [&](unsigned i) { lost |= r.local(page_at(block, i)).lost != 0 ? set_of(i) : 0; });
  if (m.requester == options_.self.value || ((owned | lost) != m.pages && m.requester != from.value)) return false;
  // Given to a node that then died, for which the home now asks for itself; or sent to a former home that died, so that
  // nobody knows whether it has passed them on (puts_without).
  if (owned != m.pages) {
    send(from, wire::MessageType::kPageDecline,
         {.block = m.block,
          .pages = m.pages & ~owned,
          .requester = m.requester,
          .origin = options_.self.value,
          .flags = wire::kPageLost,
          .transaction = m.transaction});
    if (owned == 0) return true;
  }
  // The home will hear of the death too, and ask for itself.
  if (!alive(NodeId{m.requester}) && m.access == static_cast<std::uint8_t>(Access::kWrite)) return true;
  wire::PageMessage of_owned = m;
  of_owned.pages = owned;
  const PageSet pages = defer_stuck(from, wire::MessageType::kPageForward, of_owned);
  if (pages == 0) return true;
  const auto access = static_cast<Access>(m.access);
  const bool wrong = prediction_was_wrong(block, pages);
  PageSet not_evicted = 0;
  for_each(pages, [&](unsigned i) {
    LocalPage& p = r.local(page_at(block, i));
    if (p.evicting != 0) not_evicted |= set_of(i);
    evicting_ -= p.evicting;
    p.evicting = 0;
    p.waited = 0;
    p.prefetched = 0;
  });
  restrict(block, pages, access == Access::kRead ? Access::kRead : Access::kNone);
  set_right(block, pages, access == Access::kRead ? Access::kRead : Access::kNone);
  counters_.invalidations += access == Access::kRead ? 0 : count(pages);

  wire::PageMessage data = m;
  data.origin = from.value;
  data.pages = data.carried = pages;
  data.flags = static_cast<std::uint8_t>((m.flags & wire::kPagePredicted) | (wrong ? wire::kPageClean : 0));
  send(NodeId{m.requester}, wire::MessageType::kPageData, data);
  if (access == Access::kRead && m.requester != from.value) send(from, wire::MessageType::kPageWriteBack, data);
  if (not_evicted != 0) wake(block, not_evicted);
  return true;
}

bool Core::prediction_was_wrong(BlockId block, PageSet pages) {
  RegionPages& r = region(block);
  bool any = false, all_clean = true;
  for_each(pages, [&](unsigned i) {
    const PageId page = page_at(block, i);
    LocalPage& p = r.local(page);
    if (p.predicted == 0) return;
    p.predicted = 0;
    any = true;
    const auto found = checksums_.find(page);
    // The program may still be writing: a page that changes later was written, and is not clean then either way.
    all_clean = all_clean && found != checksums_.end() && found->second == frames_.checksum(page);
    if (found != checksums_.end()) checksums_.erase(found);
  });
  counters_.predictions += any ? 1 : 0;
  counters_.predictions_wrong += any && all_clean ? 1 : 0;
  return any && all_clean;
}

bool Core::on_invalidate(NodeId from, const wire::PageMessage& m) {
  const BlockId block{m.block};
  if ((m.flags & wire::kPageFence) != 0) {
    const bool too_early = m.transaction != 0 && alive(NodeId{static_cast<std::uint16_t>(m.transaction - 1)});
    if (too_early) {
      deferred_.push_back({from, wire::MessageType::kPageInvalidate, m});
      return true;
    }
    send(from, wire::MessageType::kPageInvalidateAck, m);
    return true;
  }
  RegionPages& r = region(block);
  bool readable = true;
  for_each(m.pages, [&](unsigned i) { readable = readable && r.local(page_at(block, i)).right() != Access::kWrite; });
  if (!readable) return false;
  const PageSet pages = defer_stuck(from, wire::MessageType::kPageInvalidate, m);
  if (pages == 0) return true;
  restrict(block, pages, Access::kNone);
  set_right(block, pages, Access::kNone);
  for_each(pages, [&](unsigned i) {
    LocalPage& p = r.local(page_at(block, i));
    if (p.pending() == Access::kNone) p.prefetched = 0;
  });
  counters_.invalidations += count(pages);
  wire::PageMessage ack = m;
  ack.pages = pages;
  ack.origin = options_.self.value;
  send(from, wire::MessageType::kPageInvalidateAck, ack);
  return true;
}

}  // namespace gallocy::coherence
