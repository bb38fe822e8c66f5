#include "vmm/window_space.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/prng.h"

namespace gallocy::vmm {
namespace {

constexpr std::uint64_t kUnit = kRegionAlignBytes;

TEST(WindowSpace, gives_the_lowest_range_that_fits) {
  WindowSpace space;
  EXPECT_EQ(space.allocate(1), kWindowBase);
  EXPECT_EQ(space.allocate(3 * kUnit), kWindowBase + kUnit);
  EXPECT_EQ(space.allocate(1), kWindowBase + 4 * kUnit);
  space.release(kWindowBase + kUnit, 3 * kUnit);
  EXPECT_EQ(space.allocate(4 * kUnit), kWindowBase + 5 * kUnit);
  EXPECT_EQ(space.allocate(2 * kUnit), kWindowBase + kUnit);
}

TEST(WindowSpace, a_full_window_gives_nothing) {
  WindowSpace space;
  EXPECT_EQ(space.allocate(kWindowBytes), kWindowBase);
  EXPECT_EQ(space.free_bytes(), 0u);
  EXPECT_FALSE(space.allocate(1));
}

TEST(WindowSpace, takes_only_what_is_free_and_inside) {
  WindowSpace space;
  EXPECT_TRUE(space.take(kWindowBase + 2 * kUnit, kUnit));
  EXPECT_FALSE(space.take(kWindowBase + kUnit, 2 * kUnit));
  EXPECT_FALSE(space.take(kWindowBase - kUnit, kUnit));
  EXPECT_FALSE(space.take(kWindowBase + 1, kUnit));
  EXPECT_FALSE(space.take(kWindowBase + kWindowBytes, kUnit));
  EXPECT_FALSE(space.take(kWindowBase + kWindowBytes - kUnit, 2 * kUnit));
  EXPECT_EQ(space.free_bytes(), kWindowBytes - kUnit);
}

TEST(WindowSpace, agrees_with_a_bitmap_over_random_use) {
  constexpr std::uint64_t kUnits = 64;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    Prng random(seed);
    WindowSpace space;
    ASSERT_TRUE(space.take(kWindowBase + kUnits * kUnit, kWindowBytes - kUnits * kUnit));
    std::vector<bool> used(kUnits);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> held;  // first unit, units
    for (int step = 0; step < 200; ++step) {
      if (random.one_in(2) && !held.empty()) {
        const auto victim = held.begin() + static_cast<std::ptrdiff_t>(random.below(held.size()));
        space.release(kWindowBase + victim->first * kUnit, victim->second * kUnit);
        for (std::uint64_t i = 0; i < victim->second; ++i) used[victim->first + i] = false;
        held.erase(victim);
        continue;
      }
      const std::uint64_t units = 1 + random.below(10);
      std::uint64_t fit = 0, run = 0;
      for (; fit < kUnits && run < units; ++fit) run = used[fit] ? 0 : run + 1;
      const auto address = space.allocate(units * kUnit);
      ASSERT_EQ(address.has_value(), run == units) << "seed " << seed << " step " << step;
      if (!address) continue;
      ASSERT_EQ(*address, kWindowBase + (fit - units) * kUnit) << "seed " << seed << " step " << step;
      held.emplace_back(fit - units, units);
      for (std::uint64_t i = 0; i < units; ++i) used[fit - units + i] = true;
    }
  }
}

}  // namespace
}  // namespace gallocy::vmm
