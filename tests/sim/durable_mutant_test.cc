// The checkers must catch bugs: for each bug that can be built into the core (durable/mutant.h), some seed among the
// first few thousand must fail. Each batch of seeds runs in a process of its own, because a failed CHECK ends it.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "durable_simulation.h"
#include "failing_run.h"

namespace gallocy::sim {
namespace {

using durable::Mutant;
using raft::StoreMutant;

constexpr std::uint64_t kBatch = 20;

struct Bug {
  Mutant mutant = Mutant::kNone;
  const char* name = "none";
  std::uint64_t seeds = 3000;  // among which one must fail
  bool restarts = false;
  StoreMutant store = StoreMutant::kNone;
};

// True: a checker stopped one of these runs, or the core one of its own checks did.
bool fails(std::uint64_t first_seed, const Bug& bug) {
  return fails_in_a_child(60, [&] {
    for (std::uint64_t seed = first_seed; seed < first_seed + kBatch; ++seed)
      (void)run_durable(
          seed, {.joins = seed % 2 == 0, .restarts = bug.restarts, .mutant = bug.mutant, .store_mutant = bug.store});
  });
}

class DurableMutant : public testing::TestWithParam<Bug> {};

TEST_P(DurableMutant, is_caught) {
  const Bug& bug = GetParam();
  std::uint64_t seed = 1;
  while (seed <= bug.seeds && !fails(seed, bug)) seed += kBatch;
  std::printf("%s: caught among seeds %llu …\n", bug.name, static_cast<unsigned long long>(seed));
  EXPECT_LE(seed, bug.seeds) << "not caught";
}

// kKeepVotes, kNotSettled, kForgetWhenCommitted, kKeepApplied and kReadUnsettled need deaths at exact moments:
// DurableScenario has them.
constexpr Bug kBugs[] = {
    {Mutant::kAcknowledgeEarly, "acknowledge_early"},
    {Mutant::kAcceptStale, "accept_stale"},
    {Mutant::kSkipCompare, "skip_compare"},
    {Mutant::kNoSharedLocks, "no_shared_locks"},
    {Mutant::kNoLocks, "no_locks"},
    {Mutant::kReadThroughLock, "read_through_lock"},
    {Mutant::kUnlockEarly, "unlock_early"},
    {Mutant::kForgetPrepared, "forget_prepared"},
    {Mutant::kKeepOrphans, "keep_orphans"},
    {Mutant::kCommitAlone, "commit_alone"},
    {Mutant::kAbortOnDeath, "abort_on_death"},
    {Mutant::kForgetEarly, "forget_early"},
    {Mutant::kDoneEarly, "done_early"},
    {Mutant::kSyncWithoutRecords, "sync_without_records"},
    {Mutant::kApplyAgain, "apply_again"},
    {Mutant::kRestoredEarly, "restored_early"},
    {Mutant::kNoRestore, "no_restore"},
    {Mutant::kReleaseEarly, "release_early"},
    {Mutant::kSettleEarly, "settle_early"},
    {Mutant::kBystanderKeeps, "bystander_keeps"},
    {.mutant = Mutant::kNoteNoRecords, .name = "note_no_records", .restarts = true},
    {.mutant = Mutant::kNoteNoErasure, .name = "note_no_erasure", .restarts = true},
    {.mutant = Mutant::kTellUnwritten, .name = "tell_unwritten", .restarts = true},
    {.name = "journal_no_checksum", .restarts = true, .store = StoreMutant::kNoChecksum},
    {.name = "journal_trust_cache", .restarts = true, .store = StoreMutant::kTrustCache},
    {.name = "journal_past_tear", .restarts = true, .store = StoreMutant::kPastTear},
    {.name = "journal_stop_early", .restarts = true, .store = StoreMutant::kStopEarly},
    {.name = "journal_half_batch", .restarts = true, .store = StoreMutant::kHalfBatch},
    {.name = "journal_keep_tear", .restarts = true, .store = StoreMutant::kKeepTear},
    {.name = "journal_no_sync", .restarts = true, .store = StoreMutant::kNoSync},
    {.name = "journal_no_name_sync", .restarts = true, .store = StoreMutant::kNoNameSync},
    {.name = "journal_early_name", .restarts = true, .store = StoreMutant::kEarlyName},
    {.name = "journal_forget_early", .restarts = true, .store = StoreMutant::kForgetEarly},
    {.name = "journal_forget_many", .restarts = true, .store = StoreMutant::kForgetMany},
};

INSTANTIATE_TEST_SUITE_P(all, DurableMutant, testing::ValuesIn(kBugs),
                         [](const auto& bug) { return std::string(bug.param.name); });

TEST(DurableMutants, none_passes_where_mutants_fail) {
  for (std::uint64_t seed = 1; seed < 200; seed += kBatch) {
    EXPECT_FALSE(fails(seed, {})) << seed;
    EXPECT_FALSE(fails(seed, {.restarts = true})) << seed;
  }
}

}  // namespace
}  // namespace gallocy::sim
