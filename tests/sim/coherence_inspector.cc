#include "coherence_inspector.h"

#include "base/check.h"
#include "network.h"

namespace gallocy::coherence {

bool CoreInspector::wants_hint(const Core& core, BlockId block) {
  return !core.alive(core.home_of(block)) && core.block_state(block).was_home == 0;
}

PageSet CoreInspector::on_their_way_from(const Core& core, BlockId block, NodeId owner) {
  PageSet pages = 0;
  if (const auto found = core.activity_.find(block); found != core.activity_.end()) {
    for (const Core::Transaction& t : found->second.open) pages |= t.owner == owner ? t.pages : 0;
  }
  return pages;
}

bool CoreInspector::at_rest(const Core& core) {
  return core.activity_.empty() && core.puts_.empty() && core.pending_.empty() && core.deferred_.empty();
}

std::string CoreInspector::under_way(const Core& core) {
  std::string text;
  for (const auto& [block, activity] : core.activity_) {
    text += fmt::format("; block {}: {} requests wait", block, activity.queue.size());
    for (const Core::Transaction& t : activity.open) {
      text += fmt::format(", pages {:x} for {} from {} flags {} done {} back {}", t.pages, t.requester, t.owner,
                          t.flags, t.await_done, t.await_write_back);
      for (const Core::Ack& ack : t.acks) text += fmt::format(" ack of {}", ack.node);
    }
  }
  for (const auto& [block, home] : core.puts_) text += fmt::format("; block {} put to {}", block, home);
  for (const auto& [block, pages] : core.pending_) text += fmt::format("; block {} awaits {:x}", block, pages);
  for (const Core::Deferred& d : core.deferred_)
    text += fmt::format("; block {} pages {:x} put off for {}", d.message.block, d.message.pages, d.from);
  return text;
}

void CoreInspector::check_bounds(const Core& core) {
  std::size_t pages = 0;
  for (const auto& region : core.regions_) pages += region->spec().pages;
  const std::size_t nodes = core.options_.nodes;
  CHECK(core.blocks_with_frames_.size() <= pages / kBlockPages, core.blocks_with_frames_.size());
  CHECK(core.longer_hold_us_.size() <= pages, core.longer_hold_us_.size());
  CHECK(core.checksums_.size() <= pages && core.hand_overs_.size() <= pages, core.checksums_.size());
  // Every node has at most one request under way for each page, and each leads to at most one message that waits here.
  CHECK(core.deferred_.size() <= pages * nodes, core.deferred_.size());
  for (const auto& [block, activity] : core.activity_) {
    CHECK(activity.open.size() <= kBlockPages, block, activity.open.size());
    CHECK(activity.queue.size() <= kBlockPages * nodes, block, activity.queue.size());
  }
  for (const auto& [page, sum] : core.checksums_) CHECK(core.local(page).predicted != 0, core.describe(page));
}

std::uint64_t CoreInspector::whole_digest(const Core& core, std::uint64_t now) {
  std::uint64_t digest = core.digest();
  const auto mix = [&digest](std::uint64_t value) { digest = sim::mix(digest, value); };
  for (const auto& region : core.regions_) {
    for (std::uint64_t i = 0; i < region->spec().pages; ++i) {
      const PageId page{region->spec().first_page.value + i};
      mix(region->local(page).frame | region->local(page).putting << 1);
      if (const auto pinned = core.pins_.find(page); pinned != core.pins_.end()) mix(i), mix(pinned->second);
      if (index_in_block(page) != 0) continue;
      const BlockState& state = region->block(block_of(page));
      mix(state.listed | state.recent << 1 | state.idle << 2);
    }
  }
  for (const BlockId block : core.blocks_with_frames_) mix(block.value);
  for (const Core::Held& held : core.held_) {
    if (held.until > now) mix(held.block.value), mix(held.pages), mix(held.until - now);
  }
  mix(core.puts_not_before_ > now ? core.puts_not_before_ - now : 0);
  for (std::size_t node = 0; node < core.alive_.size(); ++node) mix(core.alive_[node]), mix(core.room_[node]);
  for (const auto& region : core.regions_) {
    for (std::uint64_t b = 0; b < region->spec().pages / kBlockPages; ++b) {
      const auto put = core.puts_.find(BlockId{region->first_block() + b});
      mix(put == core.puts_.end() ? kNoNode.value : put->second.value);
    }
  }
  for (const std::uint64_t deadline : {core.deadline_, core.ask_again_at_}) {
    const bool due = deadline <= now, waits = deadline != ~std::uint64_t{0};
    mix(due ? 1 : waits ? 2 + deadline - now : 0);
  }
  if (core.any_death_) mix(std::min(now - core.last_death_, Core::kAskAgainUs));
  for (const Core::Receiving& r : core.receiving_) mix(r.pages);
  return digest;
}

void CoreInspector::copy(const Core& from, Core& to) {
  CHECK(from.regions_.size() == to.regions_.size());
  for (std::size_t r = 0; r < from.regions_.size(); ++r) {
    RegionPages& source = *from.regions_[r];
    RegionPages& target = *to.regions_[r];
    for (std::uint64_t i = 0; i < source.spec().pages; ++i) {
      const PageId page{source.spec().first_page.value + i};
      target.local(page) = source.local(page);
      target.entry(page) = source.entry(page);
      target.block(block_of(page)) = source.block(block_of(page));
    }
  }
  to.streams_ = from.streams_;  // its current stream is set anew by every fault before it is used
  to.activity_ = from.activity_;
  to.pending_ = from.pending_;
  to.checksums_ = from.checksums_;
  to.pins_ = from.pins_;
  to.frozen_ = from.frozen_;
  to.locked_until_ = from.locked_until_;
  to.hand_overs_ = from.hand_overs_;
  to.deferred_ = from.deferred_;
  to.held_ = from.held_;
  to.next_held_ = from.next_held_;
  to.next_transaction_ = from.next_transaction_;
  to.faulting_ = from.faulting_;
  to.longer_hold_us_ = from.longer_hold_us_;
  to.blocks_with_frames_ = from.blocks_with_frames_;
  to.frames_in_use_ = from.frames_in_use_;
  to.room_ = from.room_;
  to.receiving_ = from.receiving_;
  to.alive_ = from.alive_;
  to.leaves_ = from.leaves_;
  to.homes_ = from.homes_;
  to.given_ = from.given_;
  to.heirs_ = from.heirs_;
  to.keeps_untouched_ = from.keeps_untouched_;
  to.for_the_next_anchor_ = from.for_the_next_anchor_;
  to.exact_copysets_ = from.exact_copysets_;
  to.numbers_ = from.numbers_;
  to.any_death_ = from.any_death_;
  to.exhausted_ = from.exhausted_;
  to.ask_again_at_ = from.ask_again_at_;
  to.last_death_ = from.last_death_;
  to.puts_not_before_ = from.puts_not_before_;
  to.puts_ = from.puts_;
  to.evicting_ = from.evicting_;
  to.deadline_ = from.deadline_;
  to.now_ = from.now_;
  to.counters_ = from.counters_;
}

}  // namespace gallocy::coherence
