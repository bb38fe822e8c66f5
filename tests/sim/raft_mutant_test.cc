// The checkers must catch bugs: for each bug that can be built into the core (raft/mutant.h), some seed among the first
// few thousand must fail. Each batch of seeds runs in a process of its own, because a failed CHECK ends it.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "failing_run.h"
#include "raft_simulation.h"

namespace gallocy::sim {
namespace {

using raft::Mutant;

constexpr std::uint64_t kBatch = 20;

RaftWorkload workload_of(Mutant mutant, std::uint64_t seed) {
  return {.storage = seed % 3 == 0 ? raft::Storage::kVolatile : raft::Storage::kDurable,
          .changes = seed % 4 != 1,
          .mutant = mutant};
}

// True: a checker stopped one of these runs, or the core one of its own checks did.
bool fails(std::uint64_t first_seed, Mutant mutant) {
  return fails_in_a_child(20, [&] {
    for (std::uint64_t seed = first_seed; seed < first_seed + kBatch; ++seed)
      (void)run_raft(seed, workload_of(mutant, seed));
  });
}

struct Bug {
  Mutant mutant;
  const char* name;
  std::uint64_t seeds = 2000;  // among which one must fail
};

class RaftMutant : public testing::TestWithParam<Bug> {};

TEST_P(RaftMutant, is_caught) {
  const Bug& bug = GetParam();
  std::uint64_t seed = 1;
  while (seed <= bug.seeds && !fails(seed, bug.mutant)) seed += kBatch;
  std::printf("%s: caught among seeds %llu …\n", bug.name, static_cast<unsigned long long>(seed));
  EXPECT_LE(seed, bug.seeds) << "not caught";
}

constexpr Bug kBugs[] = {
    {Mutant::kVoteForShorterLog, "vote_for_shorter_log"},
    {Mutant::kAcknowledgeEarly, "acknowledge_early"},
    {Mutant::kChangeWhilePending, "change_while_pending"},
    {Mutant::kCommitWithoutQuorum, "commit_without_quorum"},
    {Mutant::kTruncateAlways, "truncate_always"},
    {Mutant::kSkipPrevCheck, "skip_prev_check"},
    {Mutant::kLearnerCounts, "learner_counts"},
    {Mutant::kReadWithoutRound, "read_without_round"},
    {Mutant::kReadBeforeNoOp, "read_before_no_op"},
    {Mutant::kCommitBeyondMatch, "commit_beyond_match"},
    {Mutant::kSnapshotKeepsLog, "snapshot_keeps_log"},
    {Mutant::kChunkAnywhere, "chunk_anywhere"},
};

INSTANTIATE_TEST_SUITE_P(all, RaftMutant, testing::ValuesIn(kBugs),
                         [](const auto& bug) { return std::string(bug.param.name); });

TEST(RaftMutants, none_passes_where_mutants_fail) {
  for (std::uint64_t seed = 1; seed < 200; seed += kBatch) EXPECT_FALSE(fails(seed, Mutant::kNone)) << seed;
}

}  // namespace
}  // namespace gallocy::sim
