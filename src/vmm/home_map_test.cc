#include "vmm/home_map.h"

#include <gtest/gtest.h>

#include <array>

#include "base/prng.h"

namespace gallocy::vmm {
namespace {

TEST(HomeMap, an_empty_one_knows_no_home) {
  const HomeMap homes;
  EXPECT_EQ(homes.home_of(BlockId{0}), kNoNode);
  EXPECT_EQ(homes.home_of(BlockId{1'000'000}), kNoNode);
  EXPECT_EQ(homes.runs(), 0u);
}

TEST(HomeMap, neighbouring_runs_of_one_home_become_one) {
  HomeMap homes;
  homes.assign(BlockId{0}, 10, NodeId{1});
  homes.assign(BlockId{20}, 10, NodeId{1});
  EXPECT_EQ(homes.runs(), 2u);
  homes.assign(BlockId{10}, 10, NodeId{1});
  EXPECT_EQ(homes.runs(), 1u);
  EXPECT_EQ(homes.home_of(BlockId{29}), NodeId{1});
  EXPECT_EQ(homes.home_of(BlockId{30}), kNoNode);
}

TEST(HomeMap, terabytes_of_one_home_are_one_run) {
  HomeMap homes;
  homes.assign(BlockId{0}, kWindowBytes / kBlockBytes, NodeId{3});
  homes.assign(BlockId{7}, 1, NodeId{4});
  EXPECT_EQ(homes.runs(), 3u);
}

TEST(HomeMap, agrees_with_an_array_over_random_assignments) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Prng random(seed);
    HomeMap homes;
    std::array<NodeId, 64> naive;
    naive.fill(kNoNode);
    for (int step = 0; step < 60; ++step) {
      const std::uint64_t first = random.below(naive.size());
      const std::uint64_t count = 1 + random.below(naive.size() - first);
      const NodeId home{static_cast<std::uint16_t>(random.below(3))};
      homes.assign(BlockId{first}, count, home);
      for (std::uint64_t i = first; i < first + count; ++i) naive[i] = home;
      ASSERT_TRUE(homes.consistent()) << "seed " << seed << " step " << step;
      std::size_t runs = 0;
      for (std::uint64_t i = 0; i < naive.size(); ++i) {
        ASSERT_EQ(homes.home_of(BlockId{i}), naive[i]) << "seed " << seed << " step " << step << " block " << i;
        runs += naive[i] != kNoNode && (i == 0 || naive[i - 1] != naive[i]);
      }
      ASSERT_EQ(homes.runs(), runs) << "seed " << seed << " step " << step;
    }
  }
}

}  // namespace
}  // namespace gallocy::vmm
