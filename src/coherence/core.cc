#include "coherence/core.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace gallocy::coherence {

Core::Core(const Options& options, Frames& frames)
    : options_(options),
      frames_(frames),
      streams_(options.longest_run),
      // Until they say otherwise those who start together are taken to have as much as this node.
      room_(options.nodes, options.budget_pages),
      receiving_(options.nodes),
      alive_(options.nodes),
      leaves_(options.nodes) {
  CHECK(options.self.value < options.nodes && options.nodes <= kMaxNodes, options.self, options.nodes);
  CHECK(options.longest_run >= 1 && options.longest_run <= kBlockPages, options.longest_run);
  note_presence(options.self, true);
  for (const NodeId node : options.present) note_presence(node, true);
  for (std::uint16_t n = 0; n < options.nodes && options.present.empty(); ++n) note_presence(NodeId{n}, true);
  // Before this node came, as numbers are not given twice.
  for (std::uint16_t n = 0; n < options.self.value; ++n) any_death_ = any_death_ || !alive(NodeId{n});
}

// ---------------------------------------------------------------------------------------------- regions

void Core::add_region(const RegionSpec& spec) {
  CHECK(spec.first_page.value % kBlockPages == 0 && spec.pages % kBlockPages == 0 && spec.pages > 0, spec.first_page,
        spec.pages);
  auto at = std::ranges::lower_bound(regions_, spec.first_page, {},
                                     [](const auto& region) { return region->spec().first_page; });
  regions_.insert(at, std::make_unique<RegionPages>(spec));
  last_region_ = nullptr;
}

void Core::remove_region(PageId first) {
  const auto of_region = [&](BlockId block) {
    const RegionPages* r = find(first_page(block));
    return r != nullptr && r->spec().first_page == first;
  };
  std::erase_if(activity_, [&](const auto& item) { return of_region(item.first); });
  std::erase_if(pending_, [&](const auto& item) { return of_region(item.first); });
  std::erase_if(blocks_with_frames_, of_region);
  std::erase_if(homes_, of_region);
  std::erase_if(given_, of_region);
  std::erase_if(regions_, [&](const auto& region) { return region->spec().first_page == first; });
  last_region_ = nullptr;
}

RegionPages* Core::find(PageId page) const {
  if (last_region_ != nullptr && last_region_->contains(page)) return last_region_;
  auto behind = std::ranges::upper_bound(regions_, page, {}, [](const auto& r) { return r->spec().first_page; });
  if (behind == regions_.begin()) return nullptr;
  RegionPages* candidate = std::prev(behind)->get();
  if (!candidate->contains(page)) return nullptr;
  last_region_ = candidate;
  return candidate;
}

RegionPages& Core::region(BlockId block) const {
  RegionPages* found = find(first_page(block));
  CHECK(found != nullptr, block);
  return *found;
}

Access Core::mapped(PageId page) const {
  RegionPages* r = find(page);
  return r == nullptr ? Access::kNone : r->local(page).mapped();
}

NodeId Core::home_of(BlockId block) const {
  RegionPages& r = region(block);
  const BlockState& state = r.block(block);
  if (state.home_plus_one != 0) return NodeId{static_cast<std::uint16_t>(state.home_plus_one - 1)};
  return r.anchor(block, options_.nodes);
}

bool Core::touched(BlockId block) const {
  const RegionPages& r = region(block);
  const BlockState& state = region(block).block(block);
  return r.spec().placement != PlacementKind::kFirstTouch || state.initialised != 0 || state.home_plus_one != 0;
}

std::size_t Core::metadata_bytes() const {
  std::size_t bytes = 0;
  for (const auto& r : regions_) bytes += r->metadata_bytes();
  return bytes;
}

// Versions rise with every move, so news about a home never replaces newer news; see "Home moves" in docs/protocol.md.
void Core::learn_home(BlockId block, NodeId home, std::uint32_t version) {
  BlockState& state = block_state(block);
  if (version <= state.home_version || is_home(block) || home.value >= options_.nodes) return;
  state.home_version = version;
  state.home_plus_one = static_cast<std::uint16_t>(home.value + 1);
}

// Only for blocks this node knows nothing about, or only a dead home: it was never their home, so no chain of forwards
// leads through it and a stale hint cannot close a circle.
void Core::home_hint(BlockId block, NodeId home) {
  RegionPages* r = find(first_page(block));
  if (r == nullptr || home.value >= options_.nodes || home == options_.self) return;
  BlockState& state = r->block(block);
  const bool better_known = state.home_plus_one != 0 || r->anchor(block, options_.nodes) == options_.self;
  if (is_home(block) || state.was_home != 0 || (better_known && alive(home_of(block)))) return;
  state.home_plus_one = static_cast<std::uint16_t>(home.value + 1);
}

// ---------------------------------------------------------------------------------------------- effects

void Core::send(NodeId to, wire::MessageType type, const wire::PageMessage& m) {
  DCHECK(to != options_.self, to);
  if (!alive(to)) return;
  counters_.pages_sent += count(m.carried);
  effects_->list.push_back({.kind = Effect::Kind::kSend,
                            .type = type,
                            .node = to,
                            .block = BlockId{m.block},
                            .pages = m.pages,
                            .message = m});
}

void Core::wake(BlockId block, PageSet pages) {
  effects_->list.push_back({.kind = Effect::Kind::kWake, .block = block, .pages = pages});
}

void Core::protect(BlockId block, PageSet pages, Access to) {
  RegionPages& r = region(block);
  PageSet present[3] = {};
  for_each(pages, [&](unsigned i) {
    LocalPage& page = r.local(page_at(block, i));
    present[page.mapped_bits] |= set_of(i);
    page.set_mapped(to);
  });
  for (const Access from : {Access::kNone, Access::kRead, Access::kWrite}) {
    const PageSet set = present[static_cast<unsigned>(from)];
    if (set == 0 || from == to) continue;
    effects_->list.push_back({.kind = Effect::Kind::kProtect, .from = from, .to = to, .block = block, .pages = set});
  }
}

void Core::restrict(BlockId block, PageSet pages, Access most) {
  RegionPages& r = region(block);
  PageSet above = 0;
  for_each(pages, [&](unsigned i) { above |= r.local(page_at(block, i)).mapped() > most ? set_of(i) : 0; });
  protect(block, above, most);
}

void Core::set_right(BlockId block, PageSet pages, Access right) {
  RegionPages& r = region(block);
  for_each(pages, [&](unsigned i) {
    LocalPage& page = r.local(page_at(block, i));
    if (right < page.right()) note_loss(block, page);
    page.set_right(right);
    if (!locked_until_.empty() && right != Access::kWrite) locked_until_.erase(page_at(block, i));
  });
}

void Core::take_frames(BlockId block, PageSet pages) {
  RegionPages& r = region(block);
  for_each(pages, [&](unsigned i) {
    LocalPage& page = r.local(page_at(block, i));
    frames_in_use_ += page.frame == 0 ? 1 : 0;
    page.frame = 1;
  });
  list_block(block);
}

// ---------------------------------------------------------------------------------------------- time

void Core::hold(PageId page, std::uint64_t least_us) {
  std::uint64_t us = least_us;
  if (const auto longer = longer_hold_us_.find(page); longer != longer_hold_us_.end()) {
    us = std::max(us, longer->second);
    longer_hold_us_.erase(longer);
  }
  hold_all(block_of(page), set_of(page), us);
}

void Core::hold_all(BlockId block, PageSet pages, std::uint64_t us) {
  if (us == 0 || pages == 0) return;
  held_[next_held_] = {block, pages, now_ + us};
  next_held_ = (next_held_ + 1) % held_.size();
}

bool Core::about_to_access(PageId page, std::uint64_t now, std::uint64_t hold_us) {
  now_ = now;
  for (Held& held : held_) {
    if (held.until <= now_ || held.block != block_of(page) || held.pages != set_of(page)) continue;
    held.until = now_ + hold_us;
    const auto lock = locked_until_.find(page);
    if (lock != locked_until_.end() && lock->second > held.until) return false;  // its release is waited for
    // What was put off until the end of the longer hold can be looked at earlier.
    if (deadline_ == ~std::uint64_t{0}) return false;
    look_again_at(held.until);
    return true;
  }
  return false;
}

// Of the mapped pages in the set: those that may not leave yet. Sees to it that they are looked at again.
PageSet Core::stuck(BlockId block, PageSet pages) const {
  PageSet found = 0;
  RegionPages& r = region(block);
  for (const Held& held : held_) {
    if (held.until <= now_ || held.block != block) continue;
    PageSet kept = 0;
    for_each(held.pages & pages, [&](unsigned i) {
      if (r.local(page_at(block, i)).mapped() != Access::kNone) kept |= set_of(i);
    });
    if (kept == 0) continue;
    found |= kept;
    const_cast<Core*>(this)->look_again_at(held.until);
  }
  found |= pages & frozen(block);
  if (faulting_ && block_of(*faulting_) == block) found |= pages & set_of(*faulting_);
  if (!pins_.empty()) {
    for_each(pages, [&](unsigned i) {
      if (pins_.contains(page_at(block, i))) found |= set_of(i);
    });
  }
  return found;
}

// Sees to it that they are looked at again. A page that has waited its time, or whose lock was released, is not kept a
// second time before it has left.
PageSet Core::locked(BlockId block, PageSet pages) {
  PageSet found = 0;
  RegionPages& r = region(block);
  for_each(pages, [&](unsigned i) {
    const PageId page = page_at(block, i);
    if (r.local(page).right() != Access::kWrite || r.local(page).evicting != 0) return;
    auto until = locked_until_.find(page);
    if (until == locked_until_.end()) {
      if (!frames_.locked(page)) return;
      until = locked_until_.emplace(page, now_ + options_.lock_hold_us).first;
    }
    if (now_ >= until->second) return;
    look_again_at(until->second);
    found |= set_of(i);
  });
  return found;
}

PageSet Core::frozen(BlockId block) const {
  PageSet found = 0;
  for (const auto& [first, end] : frozen_) {
    const std::uint64_t from = std::max(first.value, first_page(block).value);
    const std::uint64_t to = std::min(end.value, first_page(block).value + kBlockPages);
    for (std::uint64_t page = from; page < to; ++page) found |= set_of(PageId{page});
  }
  return found;
}

void Core::thaw(PageId first, std::uint64_t pages, std::uint64_t now, Effects& effects) {
  const auto found = std::ranges::find(frozen_, std::pair{first, PageId{first.value + pages}});
  CHECK(found != frozen_.end(), first, pages);
  frozen_.erase(found);
  now_ = now;
  effects_ = &effects;
  grant_thawed();
  effects_ = nullptr;
  tick(now, effects);
}

void Core::unlocked(PageId page, std::uint64_t now, Effects& effects) {
  const auto until = locked_until_.find(page);
  if (until == locked_until_.end() || until->second == 0) return;
  until->second = 0;
  for (Held& held : held_) {
    if (held.block == block_of(page)) held.pages &= ~set_of(page);  // it has been used
  }
  tick(now, effects);
}

PageSet Core::stuck_or_locked(BlockId block, PageSet pages) {
  const PageSet found = locked(block, pages);
  return found | stuck(block, pages & ~found);
}

PageSet Core::defer_stuck(NodeId from, wire::MessageType type, const wire::PageMessage& m) {
  const PageSet kept = stuck_or_locked(BlockId{m.block}, m.pages);
  if (kept == 0) return m.pages;
  ++counters_.deferred;
  deferred_.push_back({from, type, m});
  deferred_.back().message.pages = kept;
  return m.pages & ~kept;
}

void Core::retry_deferred() {
  std::vector<Deferred> again;
  again.swap(deferred_);
  for (const Deferred& d : again) {
    if (!alive(d.from)) continue;
    const bool accepted =
        d.type == wire::MessageType::kPageForward ? on_forward(d.from, d.message) : on_invalidate(d.from, d.message);
    counters_.refused += accepted ? 0 : 1;
  }
}

void Core::tick(std::uint64_t now, Effects& effects) {
  now_ = now;
  effects_ = &effects;
  deadline_ = ~std::uint64_t{0};
  retry_deferred();
  if (now_ >= ask_again_at_) ask_again(/*give_up=*/true);
  if (ask_again_at_ != ~std::uint64_t{0}) look_again_at(ask_again_at_);
  std::vector<BlockId> waiting;
  for (const auto& [block, activity] : activity_) {
    if (!activity.queue.empty()) waiting.push_back(block);
  }
  std::ranges::sort(waiting);  // the order of a hash table must not show
  for (const BlockId block : waiting) serve_queue(block);
  keep_budget();
  effects_ = nullptr;
}

void Core::unpin(PageId page, std::uint64_t now, Effects& effects) {
  const auto found = pins_.find(page);
  CHECK(found != pins_.end(), page);
  if (--found->second != 0) return;
  pins_.erase(found);
  tick(now, effects);
}

// ---------------------------------------------------------------------------------------------- messages

bool Core::message(NodeId from, wire::MessageType type, const wire::PageMessage& m,
                   std::span<const DirectoryEntry> tail, std::uint64_t now, Effects& effects) {
  now_ = now;
  effects_ = &effects;
  if (from.value < options_.nodes) arrived_ = std::exchange(receiving_[from.value], {}).pages;
  const bool sensible = from.value < options_.nodes && from != options_.self && m.requester < options_.nodes &&
                        m.origin < options_.nodes && m.demand < kBlockPages && m.access <= 2 && m.pages != 0 &&
                        (m.carried & ~m.pages) == 0 && knows(BlockId{m.block});
  if (!sensible || !alive(from)) {
    counters_.refused += sensible ? 0 : 1;
    effects_ = nullptr;
    return sensible;
  }
  const auto handle = [&] {
    switch (type) {
      case wire::MessageType::kPageRequest:
        return on_request(from, m);
      case wire::MessageType::kPageForward:
        return on_forward(from, m);
      case wire::MessageType::kPageData:
        return on_data(from, m);
      case wire::MessageType::kPageWriteBack:
        return on_write_back(from, m);
      case wire::MessageType::kPageInvalidate:
        return on_invalidate(from, m);
      case wire::MessageType::kPageInvalidateAck:
        return on_invalidate_ack(from, m);
      case wire::MessageType::kPageDone:
        return on_done(from, m);
      case wire::MessageType::kPageDecline:
        return on_decline(m);
      case wire::MessageType::kPagePut:
        return on_put(from, m);
      case wire::MessageType::kPagePutAck:
        return on_put_ack(from, m);
      case wire::MessageType::kPageHandOver:
        return on_hand_over(from, m, tail);
      case wire::MessageType::kPageLend:
        return on_lend(from, m);
      default:
        return false;
    }
  };
  const bool accepted = handle();
  counters_.refused += accepted ? 0 : 1;
  keep_budget();
  effects_ = nullptr;
  return accepted;
}

PageSet Core::payload_wanted(NodeId from, wire::MessageType type, const wire::PageMessage& m) {
  const BlockId block{m.block};
  if (!knows(block) || !alive(from)) return 0;
  RegionPages& r = region(block);
  PageSet wanted = 0;
  for_each(m.carried, [&](unsigned i) {
    const LocalPage& page = r.local(page_at(block, i));
    const DirectoryEntry& e = r.entry(page_at(block, i));
    const bool stale_here = page.right() == Access::kNone;
    switch (type) {
      case wire::MessageType::kPageData:
        if (page.right() != Access::kWrite && ((is_home(block) && e.busy != 0) || page.pending() != Access::kNone ||
                                               m.access == static_cast<std::uint8_t>(Access::kWrite)))
          wanted |= set_of(i);
        break;
      case wire::MessageType::kPageWriteBack:
        if (is_home(block) && e.busy != 0 && stale_here) wanted |= set_of(i);
        break;
      case wire::MessageType::kPagePut:
        if (is_home(block) && e.busy == 0 && e.state() == PageState::kExclusive && e.owner == m.origin)
          wanted |= set_of(i);
        break;
      case wire::MessageType::kPageHandOver:
        if (page.right() != Access::kWrite) wanted |= set_of(i);
        break;
      case wire::MessageType::kPageLend:
        if (stale_here) wanted |= set_of(i);
        break;
      default:
        break;
    }
  });
  receiving_[from.value] = {block, wanted};
  return wanted;
}

PageSet Core::without_frames(BlockId block, PageSet pages) const {
  RegionPages& r = region(block);
  PageSet missing = 0;
  for_each(pages, [&](unsigned i) { missing |= r.local(page_at(block, i)).frame == 0 ? set_of(i) : 0; });
  return missing;
}

// ---------------------------------------------------------------------------------------------- inspection

std::vector<Core::SharedPage> Core::most_handed_over(std::size_t most) const {
  std::vector<SharedPage> pages;
  for (const auto& [page, shared] : hand_overs_) pages.push_back(shared);
  std::ranges::sort(pages, [](const SharedPage& a, const SharedPage& b) {
    return a.hand_overs != b.hand_overs ? a.hand_overs > b.hand_overs : a.page < b.page;
  });
  if (pages.size() > most) pages.resize(most);
  return pages;
}

std::string Core::describe(PageId page) const {
  const LocalPage& p = local(page);
  const DirectoryEntry& e = entry(page);
  return fmt::format(
      "node={} page={} right={} mapped={} pending={} evicting={} predicted={} lost={} home={} entry: state={} busy={} "
      "owner={} copyset={:x} migratory={}",
      options_.self, page, int{p.right_bits}, int{p.mapped_bits}, int{p.pending_bits}, int{p.evicting},
      int{p.predicted}, int{p.lost}, home_of(block_of(page)), int(e.state_bits), int(e.busy), int(e.owner),
      std::uint64_t{e.copyset}, int(e.migratory));
}

void Core::check_invariants() const {
  std::uint64_t frames = 0;
  for (const BlockId block : blocks_with_frames_) {
    PageSet open = 0;
    if (const auto found = activity_.find(block); found != activity_.end()) {
      CHECK(is_home(block) && !found->second.empty(), block);
      for (const Transaction& t : found->second.open) {
        CHECK((open & t.pages) == 0, block);
        open |= t.pages;
      }
    }
    const auto asked = pending_.find(block);
    for (unsigned i = 0; i < kBlockPages; ++i) {
      const PageId page = page_at(block, i);
      const LocalPage& p = local(page);
      CHECK(p.mapped_bits <= p.right_bits, describe(page));
      CHECK(p.mapped_bits == 0 || p.frame != 0, describe(page));
      CHECK(p.evicting == 0 || p.mapped_bits == 0, describe(page));
      CHECK((p.pending_bits != 0) == (asked != pending_.end() && contains(asked->second, i)), describe(page));
      frames += p.frame;
      if (!is_home(block)) continue;
      const DirectoryEntry& e = entry(page);
      CHECK((e.busy != 0) == contains(open, i), describe(page));
      if (e.busy != 0 || block_state(block).initialised == 0 || p.lost != 0) continue;
      const Access expected = e.state() == PageState::kHomeOnly ? Access::kWrite
                              : e.state() == PageState::kShared ? Access::kRead
                                                                : Access::kNone;
      CHECK(p.right() == expected, describe(page));
    }
  }
  CHECK(frames == frames_in_use_, frames, frames_in_use_);
}

std::uint64_t Core::digest() const {
  std::uint64_t hash = 0x9e3779b97f4a7c15;
  const auto mix = [&](std::uint64_t value) { hash = (hash ^ value) * 0xff51afd7ed558ccd, hash ^= hash >> 32; };
  const auto mix_message = [&](const wire::PageMessage& m) {
    mix(m.block), mix(m.pages), mix(m.held), mix(m.requester), mix(m.origin), mix(m.access), mix(m.demand);
    mix(m.flags), mix(m.carried), mix(m.home_version);
  };
  for (const auto& r : regions_) {
    for (std::uint64_t b = 0; b < r->spec().pages / kBlockPages; ++b) {
      const BlockId block{r->first_block() + b};
      const BlockState& state = r->block(block);
      mix(state.home_version), mix(state.home_plus_one), mix(state.writer), mix(state.writer_grants);
      mix(state.initialised);
      if (looks_back()) mix(state.again[0] | state.again[1] << 8);
      for (unsigned i = 0; i < kBlockPages; ++i) {
        const LocalPage& p = r->local(page_at(block, i));
        const DirectoryEntry& e = r->entry(page_at(block, i));
        mix(p.right_bits | p.mapped_bits << 2 | p.pending_bits << 4 | p.evicting << 6 | p.predicted << 7 |
            p.waited << 8 | p.prefetched << 9 | p.lost << 10);
        if (looks_back()) mix(p.had_bits | p.sample << 2);
        mix(e.state_bits | e.busy << 2 | e.migratory << 3 | e.owner << 6), mix(e.copyset);
      }
      if (const auto found = activity_.find(block); found != activity_.end()) {
        for (const Transaction& t : found->second.open) {
          mix(t.pages), mix(t.held), mix(t.requester.value), mix(t.owner.value), mix(static_cast<unsigned>(t.access));
          mix(t.await_write_back), mix(t.await_done), mix(t.flags), mix(t.lent), mix(t.queried);
          for (const Ack& ack : t.acks) mix(ack.node.value), mix(ack.pages);
        }
        for (const wire::PageMessage& m : found->second.queue) mix_message(m);
      }
    }
  }
  for (const Deferred& d : deferred_) mix(d.from.value), mix(static_cast<unsigned>(d.type)), mix_message(d.message);
  return hash;
}

}  // namespace gallocy::coherence
