// Nodes that are put together wrongly must be caught: for each way (WholeBug), some seed among the first must fail.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "failing_run.h"
#include "whole_simulation.h"

namespace gallocy::sim {
namespace {

constexpr std::uint64_t kBatch = 5;

struct Bug {
  WholeBug bug;
  const char* name;
  bool crashes = true;  // or nothing but links that are cut
  bool coherent = false;
  bool settles = true;
  bool leaves = false;
  std::uint64_t seeds = 2000;  // among which one must fail
};

bool fails(std::uint64_t first_seed, const Bug& bug) {
  return fails_in_a_child(120, [&] {
    for (std::uint64_t seed = first_seed; seed < first_seed + kBatch; ++seed) {
      const bool joins = bug.crashes && seed % 2 == 0;
      (void)run_whole(seed, {.crashes = bug.crashes,
                             .joins = joins,
                             .settles = bug.settles,
                             .leaves = bug.leaves,
                             .coherent = bug.coherent,
                             .bug = bug.bug});
    }
  });
}

class WholeMutant : public testing::TestWithParam<Bug> {};

TEST_P(WholeMutant, is_caught) {
  const Bug& bug = GetParam();
  std::uint64_t seed = 1;
  while (seed <= bug.seeds && !fails(seed, bug)) seed += kBatch;
  std::printf("%s: caught among seeds %llu …\n", bug.name, static_cast<unsigned long long>(seed));
  EXPECT_LE(seed, bug.seeds) << "not caught";
}

constexpr Bug kBugs[] = {
    {.bug = WholeBug::kNoLease, .name = "no_lease", .crashes = false, .settles = false},
    {.bug = WholeBug::kLongLease, .name = "long_lease", .crashes = false, .settles = false},
    {.bug = WholeBug::kDeathAtOnce, .name = "death_at_once"},
    {.bug = WholeBug::kForgetRegion, .name = "forget_region"},
    {.bug = WholeBug::kPagesAtOnce, .name = "pages_at_once", .crashes = false, .coherent = true},
    {.bug = WholeBug::kPagesUntold, .name = "pages_untold", .coherent = true},
    {.bug = WholeBug::kPagesNoHomes, .name = "pages_no_homes", .coherent = true},
    {.bug = WholeBug::kPagesPlaced, .name = "pages_placed", .coherent = true},
    {.bug = WholeBug::kLocksAtOnce, .name = "locks_at_once", .crashes = false, .coherent = true},
    {.bug = WholeBug::kLocksUntold, .name = "locks_untold", .coherent = true},
    {.bug = WholeBug::kLocksAlone, .name = "locks_alone", .coherent = true},
    {.bug = WholeBug::kLocksForget, .name = "locks_forget", .coherent = true},
    {.bug = WholeBug::kSectionEarly, .name = "section_early", .coherent = true},
    {.bug = WholeBug::kSectionTwin, .name = "section_twin", .coherent = true},
    {.bug = WholeBug::kSectionUndone, .name = "section_undone", .coherent = true},
    {.bug = WholeBug::kSettleAtOnce, .name = "settle_at_once"},
    {.bug = WholeBug::kLeaveUnheard, .name = "leave_unheard", .coherent = true, .leaves = true},
    {.bug = WholeBug::kLeaveUnsaid, .name = "leave_unsaid", .coherent = true, .leaves = true},
};

INSTANTIATE_TEST_SUITE_P(all, WholeMutant, testing::ValuesIn(kBugs),
                         [](const auto& bug) { return std::string(bug.param.name); });

}  // namespace
}  // namespace gallocy::sim
