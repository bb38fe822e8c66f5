#include "runtime/zeroed_pages.h"

#include <gtest/gtest.h>

namespace gallocy::runtime {
namespace {

using coherence::PageSet;
using coherence::set_of;

constexpr PageId kFirst{640};  // of a block
constexpr unsigned kAlone = ZeroedPages::kFaultsAlone;

PageId page(unsigned index) { return PageId{kFirst.value + index}; }

TEST(ZeroedPages, what_was_never_zeroed_comes_alone) {
  ZeroedPages pages;
  for (unsigned i = 0; i < kBlockPages; ++i) EXPECT_EQ(pages.faulted(page(i)), set_of(i));
}

TEST(ZeroedPages, when_some_of_a_block_are_used_the_others_come_along) {
  ZeroedPages pages;
  pages.zeroed(kFirst, 2 * kBlockPages);
  PageSet seen = 0;
  for (unsigned i = 0; i + 1 < kAlone; ++i) {
    const unsigned anywhere = (50 + 37 * i) % 64;
    EXPECT_EQ(pages.faulted(page(anywhere)), set_of(anywhere));
    seen |= set_of(anywhere);
  }
  ASSERT_FALSE(coherence::contains(seen, 30));
  EXPECT_EQ(pages.faulted(page(30)), ~seen);
  EXPECT_EQ(pages.faulted(page(64)), set_of(0)) << "another block begins anew";
}

TEST(ZeroedPages, only_what_was_zeroed_comes_along) {
  ZeroedPages pages;
  pages.zeroed(page(10), 20);
  for (unsigned i = 10; i + 1 < 10 + kAlone; ++i) EXPECT_EQ(pages.faulted(page(i)), set_of(i));
  EXPECT_EQ(pages.faulted(page(29)), coherence::run(9 + kAlone, 21 - kAlone));
}

TEST(ZeroedPages, each_comes_along_once) {
  ZeroedPages pages;
  pages.zeroed(kFirst, kBlockPages);
  for (unsigned i = 0; i < kAlone; ++i) (void)pages.faulted(page(i));
  for (unsigned i = 0; i < kBlockPages; ++i) EXPECT_EQ(pages.faulted(page(i)), set_of(i));
}

TEST(ZeroedPages, zeroed_again_they_begin_anew) {
  ZeroedPages pages;
  pages.zeroed(kFirst, kBlockPages);
  for (unsigned i = 0; i < kBlockPages; ++i) (void)pages.faulted(page(i));
  pages.zeroed(kFirst, kBlockPages);
  for (unsigned i = 0; i + 1 < kAlone; ++i) EXPECT_EQ(pages.faulted(page(i)), set_of(i));
  EXPECT_EQ(pages.faulted(page(63)), ~coherence::run(0, kAlone - 1));
}

}  // namespace
}  // namespace gallocy::runtime
