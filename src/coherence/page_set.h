// PageSet: a set of pages of one block, one bit each. Messages and protection changes speak of sets, so that a run of
// pages costs one message and one system call.
#pragma once

#include <bit>
#include <cstdint>

#include "base/ids.h"

namespace gallocy::coherence {

using PageSet = std::uint64_t;
static_assert(kBlockPages == 64);

constexpr PageSet set_of(unsigned index) { return PageSet{1} << index; }
constexpr PageSet set_of(PageId page) { return set_of(index_in_block(page)); }
constexpr unsigned count(PageSet set) { return static_cast<unsigned>(std::popcount(set)); }
constexpr bool contains(PageSet set, unsigned index) { return (set >> index & 1) != 0; }
// [first, first + length), length 1 … 64, inside the block.
constexpr PageSet run(unsigned first, unsigned length) {
  return (length == 64 ? ~PageSet{0} : (PageSet{1} << length) - 1) << first;
}

// Calls f(index) for each page, ascending.
template <typename F>
constexpr void for_each(PageSet set, F&& f) {
  for (; set != 0; set &= set - 1) f(static_cast<unsigned>(std::countr_zero(set)));
}
// Calls f(first, length) for each maximal run of consecutive pages, ascending.
template <typename F>
constexpr void for_each_run(PageSet set, F&& f) {
  while (set != 0) {
    const auto first = static_cast<unsigned>(std::countr_zero(set));
    const auto length = static_cast<unsigned>(std::countr_one(set >> first));
    f(first, length);
    set &= ~run(first, length);
  }
}

}  // namespace gallocy::coherence
