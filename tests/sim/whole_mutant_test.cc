// Nodes that are put together wrongly must be caught: for each way (WholeBug), some seed among the first must fail.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "failing_run.h"
#include "whole_simulation.h"

namespace gallocy::sim {
namespace {

constexpr std::uint64_t kBatch = 5;

bool fails(std::uint64_t first_seed, WholeBug bug, bool crashes) {
  return fails_in_a_child(120, [&] {
    for (std::uint64_t seed = first_seed; seed < first_seed + kBatch; ++seed)
      (void)run_whole(seed, {.crashes = crashes, .joins = crashes && seed % 2 == 0, .bug = bug});
  });
}

struct Bug {
  WholeBug bug;
  const char* name;
  bool crashes = true;         // or nothing but links that are cut
  std::uint64_t seeds = 2000;  // among which one must fail
};

class WholeMutant : public testing::TestWithParam<Bug> {};

TEST_P(WholeMutant, is_caught) {
  const Bug& bug = GetParam();
  std::uint64_t seed = 1;
  while (seed <= bug.seeds && !fails(seed, bug.bug, bug.crashes)) seed += kBatch;
  std::printf("%s: caught among seeds %llu …\n", bug.name, static_cast<unsigned long long>(seed));
  EXPECT_LE(seed, bug.seeds) << "not caught";
}

constexpr Bug kBugs[] = {
    {WholeBug::kNoLease, "no_lease", false},
    {WholeBug::kLongLease, "long_lease", false},
    {WholeBug::kDeathAtOnce, "death_at_once"},
    {WholeBug::kForgetRegion, "forget_region"},
};

INSTANTIATE_TEST_SUITE_P(all, WholeMutant, testing::ValuesIn(kBugs),
                         [](const auto& bug) { return std::string(bug.param.name); });

}  // namespace
}  // namespace gallocy::sim
