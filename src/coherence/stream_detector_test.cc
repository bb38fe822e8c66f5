#include "coherence/stream_detector.h"

#include <gtest/gtest.h>

namespace gallocy::coherence {
namespace {

unsigned fault(StreamDetector& streams, std::uint64_t page, Access access = Access::kRead) {
  const auto advice = streams.fault(PageId{page}, access, /*marker=*/false);
  streams.extend(PageId{page}, advice.pages);
  return advice.pages;
}

TEST(StreamDetector, sequence_doubles_from_the_third_fault) {
  StreamDetector streams(64);
  std::uint64_t page = 100;
  for (const unsigned expected : {1u, 1u, 2u, 4u, 8u, 16u, 32u, 64u, 64u}) {
    const unsigned pages = fault(streams, page);
    EXPECT_EQ(pages, expected) << page;
    page += pages;
  }
}

TEST(StreamDetector, neighbours_touched_again_and_again_never_grow) {
  // The edge of a part: two neighbouring pages, sweep after sweep.
  StreamDetector streams(64);
  for (int sweep = 0; sweep < 100; ++sweep) {
    EXPECT_EQ(fault(streams, 10), 1u);
    EXPECT_EQ(fault(streams, 11), 1u);
  }
}

TEST(StreamDetector, reads_and_writes_are_told_apart) {
  StreamDetector streams(64);
  for (std::uint64_t page = 0; page < 40; ++page) {
    EXPECT_EQ(fault(streams, page, page % 2 == 0 ? Access::kRead : Access::kWrite), 1u);
  }
}

TEST(StreamDetector, interleaved_streams_are_followed_each) {
  StreamDetector streams(8);
  std::uint64_t next[4] = {0, 1000, 2000, 3000};
  unsigned last[4] = {};
  for (int round = 0; round < 8; ++round) {
    for (int s = 0; s < 4; ++s) next[s] += last[s] = fault(streams, next[s]);
  }
  for (const unsigned pages : last) EXPECT_EQ(pages, 8u);
}

TEST(StreamDetector, page_lost_again_comes_alone) {
  StreamDetector streams(64);
  for (int again = 0; again < 10; ++again) EXPECT_EQ(fault(streams, 7), 1u);
}

TEST(StreamDetector, marker_continues_its_stream) {
  StreamDetector streams(64);
  std::uint64_t page = 0;
  while (page < 64) page += fault(streams, page);
  streams.extend(PageId{128}, 64);  // asked for ahead
  const auto advice = streams.fault(PageId{128}, Access::kRead, /*marker=*/true);
  EXPECT_EQ(advice.pages, 64u);
  EXPECT_EQ(advice.blocks_ahead, 2u);
}

}  // namespace
}  // namespace gallocy::coherence
