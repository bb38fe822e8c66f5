// Seeded simulations of durable memory.
#include <gtest/gtest.h>

#include <cstdio>

#include "coherence_seeds.h"
#include "durable_simulation.h"

namespace gallocy::sim {
namespace {

// Adds up what the runs of one test did, so that a run that tests nothing shows.
DurableReport run_seeds(std::uint64_t usually, DurableWorkload workload) {
  DurableReport sum;
  const std::uint64_t seeds = for_each_seed(usually, [&](std::uint64_t seed, bool trace) {
    workload.trace = trace;
    const DurableReport r = run_durable(seed, workload);
    sum.messages += r.messages;
    sum.epochs += r.epochs;
    sum.crashes += r.crashes;
    sum.joins += r.joins;
    sum.leaves += r.leaves;
    sum.restarts += r.restarts;
    sum.settled += r.settled;
    sum.bystanders_died += r.bystanders_died;
    sum.bystanders_left += r.bystanders_left;
    sum.bystanders_committed += r.bystanders_committed;
    sum.reads += r.reads;
    sum.committed += r.committed;
    sum.several += r.several;
    sum.conflicts += r.conflicts;
    sum.unknown += r.unknown;
    sum.disks.torn += r.disks.torn;
    sum.disks.anew += r.disks.anew;
    sum.disks.interrupted += r.disks.interrupted;
  });
  const auto n = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf(
      "%llu seeds, %llu messages, %llu epochs, %llu crashes, %llu joins, %llu leaves, %llu settled; %llu reads, %llu "
      "transactions "
      "committed (%llu in several companies, %llu by bystanders, of which %llu died and %llu left), %llu conflicts, "
      "%llu "
      "without an answer\n",
      n(seeds), n(sum.messages), n(sum.epochs), n(sum.crashes), n(sum.joins), n(sum.leaves), n(sum.settled),
      n(sum.reads), n(sum.committed), n(sum.several), n(sum.bystanders_committed), n(sum.bystanders_died),
      n(sum.bystanders_left), n(sum.conflicts), n(sum.unknown));
  if (workload.restarts)
    std::printf(
        "%llu restarts; %llu torn writes cut off, %llu nodes ended while they wrote everything anew, %llu in a "
        "recovery\n",
        n(sum.restarts), n(sum.disks.torn), n(sum.disks.anew), n(sum.disks.interrupted));
  if (seeds >= 100) {
    // Every mechanism was used.
    EXPECT_GT(sum.several, 5 * seeds);
    EXPECT_GT(sum.conflicts, seeds);
    EXPECT_EQ(sum.unknown > 0, workload.crashes || workload.leaves || workload.restarts);
    EXPECT_GT(sum.bystanders_committed, seeds);
    EXPECT_EQ(sum.bystanders_died > 0, workload.crashes);
    EXPECT_EQ(sum.leaves > 0, workload.leaves);
    EXPECT_EQ(sum.settled > seeds / 4, workload.joins && workload.settles);
    EXPECT_EQ(sum.bystanders_left > 0, workload.leaves);
    EXPECT_EQ(sum.restarts > seeds, workload.restarts);
    EXPECT_EQ(sum.disks.torn > seeds, workload.restarts);
    EXPECT_EQ(sum.disks.anew > seeds / 4, workload.restarts);
    EXPECT_EQ(sum.disks.interrupted > seeds, workload.restarts);
  }
  return sum;
}

TEST(DurableSim, nodes_die_and_join) {
  const DurableReport sum = run_seeds(1500, {});
  EXPECT_GT(sum.crashes, 0u);
}

TEST(DurableSim, nodes_die) { run_seeds(1000, {.joins = false}); }

TEST(DurableSim, nodes_join) { run_seeds(200, {.crashes = false, .leaves = false}); }

TEST(DurableSim, nodes_die_and_join_and_nobody_leaves) { run_seeds(500, {.leaves = false}); }

TEST(DurableSim, all_start_again_and_nobody_leaves) { run_seeds(300, {.leaves = false, .restarts = true}); }

TEST(DurableSim, nodes_leave) { run_seeds(300, {.crashes = false}); }

TEST(DurableSim, all_start_again) { run_seeds(300, {.crashes = false, .joins = false, .restarts = true}); }

TEST(DurableSim, all_start_again_while_nodes_die_and_join) { run_seeds(500, {.restarts = true}); }

TEST(DurableSim, a_seed_replayed_gives_the_same_digest) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed)
    EXPECT_EQ(run_durable(seed, {}).digest, run_durable(seed, {}).digest) << "seed " << seed;
  EXPECT_NE(run_durable(1, {}).digest, run_durable(2, {}).digest);
}

}  // namespace
}  // namespace gallocy::sim
