// Seeded simulations of whole nodes: Raft, the VMM's log, leases and durable memory together.
#include <gtest/gtest.h>

#include <cstdio>

#include "coherence_seeds.h"
#include "whole_simulation.h"

namespace gallocy::sim {
namespace {

WholeReport run_seeds(std::uint64_t usually, const WholeWorkload& workload) {
  WholeReport sum;
  const std::uint64_t seeds = for_each_seed(usually, [&](std::uint64_t seed, bool) {
    const WholeReport r = run_whole(seed, workload);
    sum.messages += r.messages;
    sum.crashes += r.crashes;
    sum.cuts += r.cuts;
    sum.silences += r.silences;
    sum.joins += r.joins;
    sum.deaths += r.deaths;
    sum.reads += r.reads;
    sum.committed += r.committed;
    sum.several += r.several;
    sum.conflicts += r.conflicts;
    sum.unknown += r.unknown;
  });
  const auto n = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf("%llu seeds, %llu messages; %llu crashes, %llu cuts, %llu silences, %llu deaths, %llu joins; ", n(seeds),
              n(sum.messages), n(sum.crashes), n(sum.cuts), n(sum.silences), n(sum.deaths), n(sum.joins));
  std::printf("%llu reads, %llu transactions committed (%llu in several blocks), %llu conflicts, %llu unknown\n",
              n(sum.reads), n(sum.committed), n(sum.several), n(sum.conflicts), n(sum.unknown));
  EXPECT_GT(sum.committed, 50 * seeds);
  return sum;
}

TEST(WholeSim, everything) {
  const WholeReport sum = run_seeds(100, {});
  EXPECT_GT(sum.crashes, 0u);
  EXPECT_GT(sum.silences, 0u);
  EXPECT_GT(sum.joins, 0u);
  EXPECT_GT(sum.unknown, 0u);
}

TEST(WholeSim, nodes_die) { EXPECT_GT(run_seeds(60, {.cuts = false, .joins = false}).deaths, 0u); }

TEST(WholeSim, links_are_cut) { EXPECT_GT(run_seeds(60, {.crashes = false, .joins = false}).silences, 0u); }

TEST(WholeSim, undisturbed) { EXPECT_EQ(run_seeds(20, {.crashes = false, .cuts = false, .joins = false}).deaths, 0u); }

TEST(WholeSim, a_seed_replayed_gives_the_same_digest) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) EXPECT_EQ(run_whole(seed, {}).digest, run_whole(seed, {}).digest);
  EXPECT_NE(run_whole(1, {}).digest, run_whole(2, {}).digest);
}

}  // namespace
}  // namespace gallocy::sim
