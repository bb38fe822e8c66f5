#include "heap/runs.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "base/prng.h"
#include "heap/testing/mapped_memory.h"

namespace gallocy::heap {
namespace {

class RunsTest : public ::testing::Test {
 protected:
  void open(std::uint64_t granules) { ASSERT_TRUE(runs_.open(granules, memory_)); }
  testing::MappedMemory memory_;
  Runs runs_;
};

TEST_F(RunsTest, neighbours_join_whatever_the_order_of_giving_back) {
  for (const auto order : {std::array{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}) {
    Runs runs;
    ASSERT_TRUE(runs.open(30, memory_));
    for (int i = 0; i < 3; ++i) ASSERT_EQ(runs.take(10), i * 10u);
    EXPECT_FALSE(runs.take(1));
    for (const int i : order) runs.give_back({static_cast<std::uint64_t>(i) * 10, 10}, 0);
    runs.check_invariants();
    EXPECT_EQ(runs.free_run_at(0), 30u);
  }
}

TEST_F(RunsTest, used_memory_is_used_again_before_fresh_memory) {
  open(1000);
  const auto a = runs_.take(5), b = runs_.take(1);
  ASSERT_TRUE(a && b);
  runs_.give_back({*a, 5}, 0);
  EXPECT_EQ(runs_.take(4), *a);
}

TEST_F(RunsTest, a_run_of_any_length_is_found_if_there_is_one) {
  for (const std::uint64_t length : {1u, 7u, 8u, 9u, 15u, 17u, 31u, 100u, 1023u}) {
    Runs runs;
    ASSERT_TRUE(runs.open(length + 2, memory_));
    ASSERT_EQ(runs.take(1), 0u);
    ASSERT_EQ(runs.take(length), 1u);
    ASSERT_EQ(runs.take(1), length + 1);
    EXPECT_FALSE(runs.take(1));
    runs.give_back({1, length}, 0);
    EXPECT_FALSE(runs.take(length + 1));
    EXPECT_EQ(runs.take(length), 1u);
  }
}

TEST_F(RunsTest, random_operations_agree_with_a_bitmap) {
  constexpr std::uint64_t kGranules = 700;
  open(kGranules);
  std::vector<bool> used(kGranules);
  std::map<std::uint64_t, std::uint64_t> taken;
  Prng random(7);
  const auto longest_free = [&] {
    std::uint64_t longest = 0, length = 0;
    for (const bool u : used) longest = std::max(longest, length = u ? 0 : length + 1);
    return longest;
  };
  for (int step = 0; step < 20'000; ++step) {
    if (random.one_in(2)) {
      const std::uint64_t length = 1 + random.below(random.one_in(8) ? 200 : 20);
      const auto first = runs_.take(length);
      ASSERT_EQ(first.has_value(), longest_free() >= length);
      if (!first) continue;
      for (std::uint64_t g = *first; g < *first + length; ++g) {
        ASSERT_FALSE(used[g]);
        ASSERT_TRUE(runs_.warm(g));
        used[g] = true;
      }
      taken[*first] = length;
    } else if (!taken.empty()) {
      const auto run = std::next(taken.begin(), static_cast<long>(random.below(taken.size())));
      for (std::uint64_t g = run->first; g < run->first + run->second; ++g) used[g] = false;
      runs_.give_back({run->first, run->second}, static_cast<std::uint64_t>(step));
      taken.erase(run);
    }
    if (random.one_in(50)) {
      if (const auto stale = runs_.take_stale(static_cast<std::uint64_t>(step)); stale) {
        for (std::uint64_t g = stale->first; g < stale->first + stale->granules; ++g) ASSERT_FALSE(used[g]);
        runs_.give_back_cold(*stale);
      }
    }
    if (step % 16 == 0) runs_.check_invariants();
  }
}

TEST_F(RunsTest, only_runs_free_for_long_are_stale_and_only_used_granules_warm) {
  open(1000);
  const auto a = runs_.take(10), hole = runs_.take(1), b = runs_.take(10), end = runs_.take(1);
  ASSERT_TRUE(a && hole && b && end);
  runs_.give_back({*a, 10}, 5);
  runs_.give_back({*b, 10}, 8);
  EXPECT_FALSE(runs_.take_stale(4));
  const auto stale = runs_.take_stale(5);
  ASSERT_TRUE(stale);
  EXPECT_EQ(stale->first, *a);
  EXPECT_FALSE(runs_.take_stale(5));
  const auto warm = runs_.warm_stretch(*stale, stale->first);
  ASSERT_TRUE(warm);
  EXPECT_EQ(warm->granules, 10u);
  EXPECT_FALSE(runs_.warm_stretch(*stale, warm->first + warm->granules));
  runs_.give_back_cold(*stale);
  EXPECT_FALSE(runs_.warm(*a));

  runs_.give_back({*end, 1}, 9);  // joins b and the fresh rest of the slice
  const auto rest = runs_.take_stale(9);
  ASSERT_TRUE(rest);
  EXPECT_EQ(rest->first, *b);
  const auto used = runs_.warm_stretch(*rest, rest->first);
  ASSERT_TRUE(used);
  EXPECT_EQ(used->granules, 11u);
}

}  // namespace
}  // namespace gallocy::heap
