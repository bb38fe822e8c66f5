#include "runtime/zeroed_pages.h"

#include <algorithm>

namespace gallocy::runtime {

using coherence::PageSet;

void ZeroedPages::zeroed(PageId first, std::uint64_t pages) {
  const std::uint64_t end = first.value + pages;
  std::erase_if(faulted_, [&](const auto& block) {
    const std::uint64_t begin = first_page(block.first).value;
    return begin < end && first.value < begin + kBlockPages;
  });
  ranges_[next_++ % kMostRanges] = {.first = first.value, .end = end};
}

const ZeroedPages::Range* ZeroedPages::range_of(PageId page) const {
  const auto found = std::ranges::find_if(
      ranges_, [&](const Range& range) { return page.value - range.first < range.end - range.first; });
  return found != ranges_.end() ? &*found : nullptr;
}

PageSet ZeroedPages::faulted(PageId page) {
  const PageSet alone = coherence::set_of(page);
  const Range* const range = range_of(page);
  if (range == nullptr) return alone;
  const BlockId block = block_of(page);
  PageSet& before = faulted_[block];
  before |= alone;
  if (coherence::count(before) < kFaultsAlone) return alone;
  const std::uint64_t start = first_page(block).value;
  const std::uint64_t first = std::max(start, range->first), end = std::min(start + kBlockPages, range->end);
  const PageSet whole =
      coherence::run(static_cast<unsigned>(first - start), static_cast<unsigned>(end - first)) & ~before;
  before |= whole;
  return whole | alone;
}

}  // namespace gallocy::runtime
