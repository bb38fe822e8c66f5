// Seeded simulations of sections of durable locks.
#include <gtest/gtest.h>

#include <cstdio>

#include "coherence_seeds.h"
#include "section_simulation.h"

namespace gallocy::sim {
namespace {

// Adds up what the runs of one test did, so that a run that tests nothing shows.
void run_seeds(std::uint64_t usually, SectionWorkload workload) {
  SectionReport sum;
  const std::uint64_t seeds = for_each_seed(usually, [&](std::uint64_t seed, bool trace) {
    workload.trace = trace;
    const SectionReport r = run_sections(seed, workload);
    sum.messages += r.messages;
    sum.crashes += r.crashes;
    sum.restarts += r.restarts;
    sum.committed += r.committed;
    sum.several += r.several;
    sum.conflicts += r.conflicts;
    sum.rolled_back += r.rolled_back;
    sum.unknown += r.unknown;
    sum.cut_off += r.cut_off;
    sum.owner_died += r.owner_died;
    sum.transactions += r.transactions;
  });
  const auto n = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf(
      "%llu seeds, %llu messages, %llu crashes; %llu committed (%llu in several companies; %llu transactions were "
      "begun), %llu conflicts, %llu rolled back, %llu cut off, %llu without an answer, %llu entered after a death\n",
      n(seeds), n(sum.messages), n(sum.crashes), n(sum.committed), n(sum.several), n(sum.transactions),
      n(sum.conflicts), n(sum.rolled_back), n(sum.cut_off), n(sum.unknown), n(sum.owner_died));
  if (seeds < 100) return;
  // Every mechanism was used.
  EXPECT_GT(sum.several, 5 * seeds);
  EXPECT_GT(sum.rolled_back, seeds);
  EXPECT_EQ(sum.conflicts > 0, !workload.orderly);
  EXPECT_EQ(sum.transactions > 0, !workload.orderly);
  EXPECT_EQ(sum.cut_off > 0 && sum.unknown > 0, workload.crashes || workload.restarts);
  EXPECT_EQ(sum.restarts > seeds, workload.restarts);
  EXPECT_EQ(sum.owner_died > 0, workload.crashes || workload.restarts || !workload.orderly);
}

TEST(SectionSim, orderly_sections_have_no_conflicts) { run_seeds(200, {.crashes = false}); }

TEST(SectionSim, nodes_die_and_sections_have_no_conflicts) { run_seeds(1000, {}); }

TEST(SectionSim, locks_pass_too_early_and_transactions_go_past_them) { run_seeds(1000, {.orderly = false}); }

TEST(SectionSim, nodes_start_again_and_sections_have_no_conflicts) { run_seeds(300, {.restarts = true}); }

TEST(SectionSim, nodes_start_again_and_all_else) { run_seeds(300, {.restarts = true, .orderly = false}); }

TEST(SectionSim, a_seed_replayed_gives_the_same_digest) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed)
    EXPECT_EQ(run_sections(seed, {}).digest, run_sections(seed, {}).digest) << "seed " << seed;
  EXPECT_NE(run_sections(1, {}).digest, run_sections(2, {}).digest);
}

}  // namespace
}  // namespace gallocy::sim
