#include "durable/section.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace gallocy::durable {
namespace {

// The unit of comparing a page with its twin. Since the whole page is compared at commit, a word may be written whose
// other bytes were not changed.
using Word = std::uint64_t;
constexpr std::size_t kPageWords = kPageBytes / sizeof(Word);

Word word_at(std::span<const std::byte> bytes, std::size_t i) {
  Word word;
  std::memcpy(&word, bytes.data() + i * sizeof word, sizeof word);
  return word;
}

// f(first word, words) for each run of words that differ. A word between two that do goes with them: to name another
// run takes as much.
template <typename F>
void for_each_difference(std::span<const std::byte> a, std::span<const std::byte> b, F&& f) {
  const auto differs = [&](std::size_t i) { return i < kPageWords && word_at(a, i) != word_at(b, i); };
  for (std::size_t i = 0; i < kPageWords; ++i) {
    if (!differs(i)) continue;
    const std::size_t first = i;
    while (differs(i + 1) || differs(i + 2)) ++i;
    f(first, i + 1 - first);
  }
}

}  // namespace

bool Section::covers(PageId page) const {
  return std::ranges::any_of(ranges_, [&](const PageRange& range) { return range.has(page); });
}

Access Section::access(PageId page) const {
  const auto found = pages_.find(page);
  return found == pages_.end() ? Access::kNone : found->second.access;
}

Section::Step Section::touch(PageId page, Access want, std::span<const std::byte> frame) {
  CHECK(covers(page) && want != Access::kNone, page);
  const auto [found, is_new] = pages_.try_emplace(page);
  Page& entry = found->second;
  if (entry.access == Access::kNone) {
    entry.want = std::max(entry.want, want);
    return is_new ? Step::kFetch : Step::kWait;
  }
  if (want > entry.access) {
    entry.twin.assign(frame.begin(), frame.end());
    entry.access = Access::kWrite;
  }
  return Step::kOpen;
}

void Section::fetched(PageId page, std::span<const std::byte> frame) {
  const auto found = pages_.find(page);
  CHECK(found != pages_.end() && found->second.access == Access::kNone, page);
  Page& entry = found->second;
  entry.digest = digest_of_page(frame);
  entry.access = entry.want;
  if (entry.access == Access::kWrite) entry.twin.assign(frame.begin(), frame.end());
}

void Section::for_each_run(const std::function<void(PageId, std::uint64_t, Access)>& f) const {
  for (auto at = pages_.begin(); at != pages_.end();) {
    const PageId first = at->first;
    const Access access = at->second.access;
    std::uint64_t pages = 0;
    for (; at != pages_.end() && at->first.value == first.value + pages && at->second.access == access; ++at) ++pages;
    f(first, pages, access);
  }
}

std::vector<Item> Section::items(const Frames& frame) const {
  std::vector<Item> items;
  for (const auto& [page, entry] : pages_) {
    CHECK(entry.access != Access::kNone, "on its way", page);
    const std::uint64_t address = address_of(page);
    if (!is(Mutant::kBlindSection) && (!is(Mutant::kForgetReadPages) || entry.access == Access::kWrite))
      items.push_back({ItemKind::kComparePage, address, entry.digest});
    if (entry.access != Access::kWrite) continue;
    const auto now = frame(page);
    for_each_difference(now, entry.twin, [&](std::size_t first, std::size_t words) {
      items.push_back(
          {ItemKind::kWrite, address + first * sizeof(Word), now.subspan(first * sizeof(Word), words * sizeof(Word))});
    });
  }
  return items;
}

}  // namespace gallocy::durable
