// What a node had before: a phase of a program touches again the pages that the last one touched, in an order in which
// a stream detector sees nothing. So a fault on a page that was lost asks along for others of its block that were lost
// too, if nobody has taken one from here for a while: who took it then may have done with it. (Prefetching by the
// history of misses: Bianchini, Pinto, Amorim, "Data prefetching for software DSMs", ICS 1998.)
//
// How many is learnt for each block: twice as many after each such fault. Of what comes some pages are not mapped; a
// fault on one, which needs no message, shows that the guess was right, and its loss before that it was wrong.
#include <algorithm>

#include "base/check.h"
#include "coherence/core.h"

namespace gallocy::coherence {
namespace {

constexpr unsigned kMostAgain = 6;         // 2^6: all pages of a block
constexpr unsigned kSampleAllBelow = 3;    // less sure than this: each page that comes is a sample
constexpr unsigned kLossOfConfidence = 2;  // per sample that left without having been touched

}  // namespace

void Core::note_loss(BlockId block, LocalPage& p) {
  if (p.sample != 0 && p.pending() == Access::kNone) {
    std::uint8_t& again = block_state(block).again[p.right() == Access::kWrite ? 1 : 0];
    again = static_cast<std::uint8_t>(again - std::min<unsigned>(again, kLossOfConfidence));
    p.sample = 0;
    p.had_bits = 0;
    ++counters_.again_wrong;
  } else {
    p.had_bits = std::max(p.had_bits, p.right_bits) & 3;
  }
  stamp(p);
}

void Core::forget_history(BlockId block, PageSet pages) {
  RegionPages& r = region(block);
  for_each(pages, [&](unsigned i) {
    LocalPage& p = r.local(page_at(block, i));
    p.had_bits = 0;
    p.sample = 0;
  });
}

// What is read here will be written if its neighbours are.
bool Core::was_used_for(const LocalPage& p, Access want) const {
  const auto ago = static_cast<std::uint16_t>((now_ >> kHistoryClockShift) - p.changed_at);
  const bool used = p.had_bits >= static_cast<unsigned>(want) || (want == Access::kWrite && p.right() == Access::kRead);
  return used && p.right() < want && p.pending() == Access::kNone && p.evicting == 0 && p.lost == 0 && p.sample == 0 &&
         std::uint64_t{ago} << kHistoryClockShift >= options_.revisit_after_us;
}

// The page is about to be asked for. Which others of its block to ask for along with it.
PageSet Core::revisited(PageId page, Access want) {
  const BlockId block = block_of(page);
  RegionPages& r = region(block);
  BlockState& state = r.block(block);
  if (!looks_back() || !was_used_for(r.local(page), want)) return 0;
  const unsigned first = index_in_block(page), again = state.again[want == Access::kWrite ? 1 : 0];
  PageSet others = 0;
  for (unsigned step = 1, most = (1u << again) - 1; step < kBlockPages && count(others) < most; ++step) {
    const unsigned i = (first + step) % kBlockPages;
    if (was_used_for(r.local(page_at(block, i)), want)) others |= set_of(i);
  }
  const bool all = again < kSampleAllBelow || others == 0;
  const PageSet samples = all ? others : set_of(static_cast<unsigned>(std::countl_zero(others)) ^ 63);
  for_each(samples, [&](unsigned i) { r.local(page_at(block, i)).sample = 1; });
  grow_again(state, want);
  counters_.again += count(others);
  return others;
}

void Core::grow_again(BlockState& state, Access access) {
  std::uint8_t& again = state.again[access == Access::kWrite ? 1 : 0];
  again = static_cast<std::uint8_t>(std::min(again + 1u, kMostAgain));
}

}  // namespace gallocy::coherence
