// Seeded simulations of the coherence core: random programs on random clusters, with and without deaths of nodes.
#include <gtest/gtest.h>

#include <cstdio>

#include "coherence_seeds.h"
#include "coherence_workload.h"

namespace gallocy::sim {
namespace {

// Adds up what the runs of one test did, so that a run that tests nothing shows.
struct Sum {
  std::uint64_t seeds = 0, events = 0, accesses = 0, longest_wait_us = 0, threads_lost = 0, nodes_left = 0;
  unsigned most_attempts = 0;
  coherence::Counters counters;

  void add(const RunReport& r) {
    ++seeds;
    events += r.events;
    accesses += r.accesses;
    longest_wait_us = std::max(longest_wait_us, r.longest_wait_us);
    most_attempts = std::max(most_attempts, r.most_attempts);
    threads_lost += r.threads_lost;
    nodes_left += r.nodes_left;
    counters.evicted += r.counters.evicted;
    counters.spilled += r.counters.spilled;
    counters.homes_moved += r.counters.homes_moved;
    counters.predictions += r.counters.predictions;
    counters.predictions_wrong += r.counters.predictions_wrong;
    counters.prefetched += r.counters.prefetched;
    counters.declined += r.counters.declined;
    counters.deferred += r.counters.deferred;
    counters.invalidations += r.counters.invalidations;
  }
  void print() const {
    std::printf(
        "%llu seeds, %llu events, %llu accesses; longest wait %llu us, most faults for one access %u; threads lost "
        "%llu; "
        "invalidations %llu, evicted %llu, spilled %llu, homes moved %llu, predictions %llu (%llu wrong), prefetched "
        "%llu, "
        "declined %llu, deferred %llu\n",
        static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(events),
        static_cast<unsigned long long>(accesses), static_cast<unsigned long long>(longest_wait_us), most_attempts,
        static_cast<unsigned long long>(threads_lost), static_cast<unsigned long long>(counters.invalidations),
        static_cast<unsigned long long>(counters.evicted), static_cast<unsigned long long>(counters.spilled),
        static_cast<unsigned long long>(counters.homes_moved), static_cast<unsigned long long>(counters.predictions),
        static_cast<unsigned long long>(counters.predictions_wrong),
        static_cast<unsigned long long>(counters.prefetched), static_cast<unsigned long long>(counters.declined),
        static_cast<unsigned long long>(counters.deferred));
  }
};

Sum run_seeds(std::uint64_t usually, Workload workload) {
  Sum sum;
  for_each_seed(usually, [&](std::uint64_t seed, bool trace) {
    workload.trace = trace;
    sum.add(run_workload(seed, workload));
  });
  sum.print();
  return sum;
}

TEST(CoherenceSim, mixed_programs_stay_coherent) {
  const Sum sum = run_seeds(1500, {.kind = WorkloadKind::kMixed});
  if (sum.seeds < 500) return;
  // Every mechanism was used.
  EXPECT_GT(sum.counters.invalidations, 0u);
  EXPECT_GT(sum.counters.evicted, 0u);
  EXPECT_GT(sum.counters.spilled, 0u);
  EXPECT_GT(sum.counters.homes_moved, 0u);
  EXPECT_GT(sum.counters.predictions, 0u);
  EXPECT_GT(sum.counters.predictions_wrong, 0u);
  EXPECT_GT(sum.counters.prefetched, 0u);
  EXPECT_GT(sum.counters.declined, 0u);
  EXPECT_GT(sum.counters.deferred, 0u);
}

TEST(CoherenceSim, ring_stays_one_ring) { run_seeds(400, {.kind = WorkloadKind::kRing}); }

TEST(CoherenceSim, more_nodes_than_copyset_bits) { run_seeds(60, {.kind = WorkloadKind::kManyNodes}); }

TEST(CoherenceSim, nobody_starves_on_hot_pages) { run_seeds(300, {.kind = WorkloadKind::kHot}); }

TEST(CoherenceSim, crash_of_a_node_at_any_step) {
  const Sum sum = run_seeds(1500, {.kind = WorkloadKind::kMixed, .crashes = 1});
  if (sum.seeds >= 500) {
    EXPECT_GT(sum.threads_lost, 0u);
  }
}

TEST(CoherenceSim, crash_of_two_nodes) { run_seeds(500, {.kind = WorkloadKind::kMixed, .crashes = 2}); }

TEST(CoherenceSim, crash_in_the_ring) { run_seeds(200, {.kind = WorkloadKind::kRing, .crashes = 1}); }

TEST(CoherenceSim, a_node_leaves_in_order) {
  const Sum sum = run_seeds(1000, {.kind = WorkloadKind::kMixed, .leaves = 1});
  EXPECT_EQ(sum.threads_lost, 0u);
  if (sum.seeds >= 500) {
    EXPECT_GT(sum.nodes_left, sum.seeds * 9 / 10);
  }
}

TEST(CoherenceSim, two_nodes_leave_in_order) {
  const Sum sum = run_seeds(500, {.kind = WorkloadKind::kMixed, .leaves = 2});
  EXPECT_EQ(sum.threads_lost, 0u);
}

TEST(CoherenceSim, a_node_leaves_the_ring) { run_seeds(200, {.kind = WorkloadKind::kRing, .leaves = 1}); }

TEST(CoherenceSim, a_seed_replayed_gives_the_same_digest) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Workload workload{.kind = static_cast<WorkloadKind>(seed % 2),
                            .crashes = static_cast<unsigned>(seed % 3 == 0)};
    EXPECT_EQ(run_workload(seed, workload).digest, run_workload(seed, workload).digest) << "seed " << seed;
  }
  EXPECT_NE(run_workload(1, {}).digest, run_workload(2, {}).digest);
}

}  // namespace
}  // namespace gallocy::sim
