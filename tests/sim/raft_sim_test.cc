// Seeded simulations of the Raft core.
#include <gtest/gtest.h>

#include <cstdio>

#include "coherence_seeds.h"
#include "raft_simulation.h"

namespace gallocy::sim {
namespace {

// Adds up what the runs of one test did, so that a run that tests nothing shows.
RaftReport run_seeds(std::uint64_t usually, RaftWorkload workload) {
  RaftReport sum;
  const std::uint64_t seeds = for_each_seed(usually, [&](std::uint64_t seed, bool trace) {
    workload.trace = trace;
    const RaftReport r = run_raft(seed, workload);
    sum.events += r.events;
    sum.elections += r.elections;
    sum.commits += r.commits;
    sum.configurations += r.configurations;
    sum.truncations += r.truncations;
    sum.restores += r.restores;
    sum.crashes += r.crashes;
    sum.operations += r.operations;
    sum.answered += r.answered;
    sum.lease_reads += r.lease_reads;
    sum.round_reads += r.round_reads;
    sum.transfers += r.transfers;
  });
  const auto n = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf(
      "%llu seeds, %llu events, %llu elections, %llu commits, %llu configurations, %llu truncations, %llu "
      "snapshots restored, %llu crashes, %llu transfers; %llu operations, %llu answered, reads by lease %llu, "
      "by round %llu\n",
      n(seeds), n(sum.events), n(sum.elections), n(sum.commits), n(sum.configurations), n(sum.truncations),
      n(sum.restores), n(sum.crashes), n(sum.transfers), n(sum.operations), n(sum.answered), n(sum.lease_reads),
      n(sum.round_reads));
  if (seeds >= 100) {
    // Every mechanism was used.
    EXPECT_GT(sum.elections, 2 * seeds);
    EXPECT_GT(sum.truncations, 0u);
    EXPECT_GT(sum.restores, 0u);
    EXPECT_GT(sum.lease_reads, 0u);
    EXPECT_GT(sum.round_reads, 0u);
    EXPECT_GT(sum.transfers, 0u);
    EXPECT_GT(sum.answered, 10 * seeds);
  }
  return sum;
}

TEST(RaftSim, servers_with_disks) {
  const RaftReport sum = run_seeds(400, {});
  EXPECT_GT(sum.configurations + sum.crashes, 0u);
}

TEST(RaftSim, servers_without_disks_come_back_as_others) {
  const RaftReport sum = run_seeds(300, {.storage = raft::Storage::kVolatile});
  EXPECT_GT(sum.configurations + sum.crashes, 0u);
}

TEST(RaftSim, fixed_membership) { run_seeds(200, {.changes = false}); }

TEST(RaftSim, a_seed_replayed_gives_the_same_digest) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const RaftWorkload workload{.storage = seed % 2 == 0 ? raft::Storage::kVolatile : raft::Storage::kDurable};
    EXPECT_EQ(run_raft(seed, workload).digest, run_raft(seed, workload).digest) << "seed " << seed;
  }
  EXPECT_NE(run_raft(1, {}).digest, run_raft(2, {}).digest);
}

}  // namespace
}  // namespace gallocy::sim
