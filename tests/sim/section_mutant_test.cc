// The checkers must catch bugs of sections: those of durable/mutant.h that concern them, and those of their driver.
// Each batch of seeds runs in a process of its own, because a failed CHECK ends it.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "failing_run.h"
#include "section_simulation.h"

namespace gallocy::sim {
namespace {

using durable::Mutant;

constexpr std::uint64_t kBatch = 20;

struct Bug {
  const char* name;
  Mutant mutant = Mutant::kNone;
  SectionMisuse misuse = SectionMisuse::kNone;
  std::uint64_t seeds = 3000;  // among which one must fail
  bool restarts = false;
};

// True: a checker stopped one of these runs. Every second one is orderly.
bool fails(std::uint64_t first_seed, const Bug& bug) {
  return fails_in_a_child(60, [&] {
    for (std::uint64_t seed = first_seed; seed < first_seed + kBatch; ++seed)
      (void)run_sections(
          seed, {.restarts = bug.restarts, .orderly = seed % 2 == 0, .mutant = bug.mutant, .misuse = bug.misuse});
  });
}

class SectionMutant : public testing::TestWithParam<Bug> {};

TEST_P(SectionMutant, is_caught) {
  const Bug& bug = GetParam();
  std::uint64_t seed = 1;
  while (seed <= bug.seeds && !fails(seed, bug)) seed += kBatch;
  std::printf("%s: caught among seeds %llu …\n", bug.name, static_cast<unsigned long long>(seed));
  EXPECT_LE(seed, bug.seeds) << "not caught";
}

constexpr Bug kBugs[] = {
    {.name = "blind_section", .mutant = Mutant::kBlindSection},
    {.name = "forget_read_pages", .mutant = Mutant::kForgetReadPages},
    {.name = "read_past_comparisons", .mutant = Mutant::kReadPastComparisons},
    {.name = "refuse_unheard", .mutant = Mutant::kRefuseUnheard, .seeds = 10'000},
    {.name = "skip_compare", .mutant = Mutant::kSkipCompare},
    {.name = "acknowledge_early", .mutant = Mutant::kAcknowledgeEarly},
    {.name = "late_twin", .misuse = SectionMisuse::kLateTwin},
    {.name = "commit_by_page", .misuse = SectionMisuse::kCommitByPage},
    {.name = "keep_pages", .misuse = SectionMisuse::kKeepPages},
    {.name = "pass_early", .misuse = SectionMisuse::kPassEarly},
    {.name = "pass_in_epoch", .misuse = SectionMisuse::kPassInEpoch, .seeds = 10'000},
    {.name = "commit_anyway", .misuse = SectionMisuse::kCommitAnyway},
    {.name = "tell_unwritten", .mutant = Mutant::kTellUnwritten, .restarts = true},
};

INSTANTIATE_TEST_SUITE_P(all, SectionMutant, testing::ValuesIn(kBugs),
                         [](const auto& bug) { return std::string(bug.param.name); });

TEST(SectionMutants, none_passes_where_mutants_fail) {
  for (std::uint64_t seed = 1; seed < 200; seed += kBatch) EXPECT_FALSE(fails(seed, {.name = "none"})) << seed;
}

}  // namespace
}  // namespace gallocy::sim
