// The checks on the whole VMM log must catch what goes wrong below it and above it: bugs of the Raft core
// (raft/mutant.h), and drivers that misuse the log. Each batch of seeds runs in a process of its own, because a failed
// CHECK ends it.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "failing_run.h"
#include "vmm_simulation.h"

namespace gallocy::sim {
namespace {

using raft::Mutant;

constexpr std::uint64_t kBatch = 20;

// True: a check stopped one of these runs.
bool fails(std::uint64_t first_seed, const VmmWorkload& workload) {
  return fails_in_a_child(30, [&] {
    for (std::uint64_t seed = first_seed; seed < first_seed + kBatch; ++seed) (void)run_vmm(seed, workload);
  });
}

struct Bug {
  const char* name;
  Mutant mutant = Mutant::kNone;
  DriverBug driver = DriverBug::kNone;
  bool changes = false;
  bool disks = false;
  std::uint64_t return_us = 600'000;
  std::uint32_t shards = 1;
};

class VmmMutant : public testing::TestWithParam<Bug> {};

TEST_P(VmmMutant, is_caught) {
  constexpr std::uint64_t kSeeds = 3000;
  const Bug& bug = GetParam();
  std::uint64_t seed = 1;
  while (seed <= kSeeds && !fails(seed, {.return_us = bug.return_us,
                                         .changes = bug.changes,
                                         .disks = bug.disks,
                                         .shards = bug.shards,
                                         .mutant = bug.mutant,
                                         .bug = bug.driver}))
    seed += kBatch;
  std::printf("%s: caught among seeds %llu …\n", bug.name, static_cast<unsigned long long>(seed));
  EXPECT_LE(seed, kSeeds) << "not caught";
}

constexpr Bug kBugs[] = {
    {.name = "vote_for_shorter_log", .mutant = Mutant::kVoteForShorterLog},
    {.name = "commit_without_quorum", .mutant = Mutant::kCommitWithoutQuorum},
    {.name = "skip_prev_check", .mutant = Mutant::kSkipPrevCheck},
    {.name = "learner_counts", .mutant = Mutant::kLearnerCounts},
    {.name = "commit_beyond_match", .mutant = Mutant::kCommitBeyondMatch},
    {.name = "snapshot_keeps_log", .mutant = Mutant::kSnapshotKeepsLog},
    {.name = "same_server_again", .driver = DriverBug::kSameServerAgain},
    {.name = "same_requests_again", .driver = DriverBug::kSameRequestsAgain, .return_us = 10'000},
    {.name = "written_early", .driver = DriverBug::kWrittenEarly, .disks = true},
    {.name = "leave_at_once", .driver = DriverBug::kLeaveAtOnce, .changes = true},
    {.name = "forget_second", .driver = DriverBug::kForgetSecond, .changes = true, .shards = 2},
    {.name = "commit_without_quorum_in_two", .mutant = Mutant::kCommitWithoutQuorum, .shards = 2},
};

INSTANTIATE_TEST_SUITE_P(all, VmmMutant, testing::ValuesIn(kBugs),
                         [](const auto& bug) { return std::string(bug.param.name); });

TEST(VmmMutants, none_passes_where_mutants_fail) {
  for (std::uint64_t seed = 1; seed < 100; seed += kBatch) EXPECT_FALSE(fails(seed, {})) << seed;
  EXPECT_FALSE(fails(401, {.return_us = 10'000}));
}

}  // namespace
}  // namespace gallocy::sim
