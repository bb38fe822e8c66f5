// Seeded simulations of whole nodes: Raft, the VMM's log, leases, durable memory, coherent memory, locks and
// sections together.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>

#include "coherence_seeds.h"
#include "whole_simulation.h"

namespace gallocy::sim {
namespace {

WholeReport run_seeds(std::uint64_t usually, WholeWorkload workload) {
  WholeReport sum;
  const std::uint64_t seeds = for_each_seed(usually, [&](std::uint64_t seed, bool trace) {
    workload.trace = trace;
    const WholeReport r = run_whole(seed, workload);
    sum.messages += r.messages;
    sum.crashes += r.crashes;
    sum.cuts += r.cuts;
    sum.silences += r.silences;
    sum.joins += r.joins;
    sum.deaths += r.deaths;
    sum.settled += r.settled;
    sum.reads += r.reads;
    sum.committed += r.committed;
    sum.several += r.several;
    sum.conflicts += r.conflicts;
    sum.unknown += r.unknown;
    sum.pages.accesses += r.pages.accesses;
    sum.pages.faults += r.pages.faults;
    sum.pages.answered += r.pages.answered;
    sum.pages.lost += r.pages.lost;
    sum.pages.longest_wait_us = std::max(sum.pages.longest_wait_us, r.pages.longest_wait_us);
    sum.memory.homes_moved += r.memory.homes_moved;
    sum.memory.homes_told += r.memory.homes_told;
    sum.memory.evicted += r.memory.evicted;
    sum.memory.spilled += r.memory.spilled;
    sum.memory.buried += r.memory.buried;
    sum.leaves.left += r.leaves.left;
    sum.leaves.stayed += r.leaves.stayed;
    sum.locks.granted += r.locks.granted;
    sum.locks.owner_died += r.locks.owner_died;
    sum.locks.bereft += r.locks.bereft;
    sum.sections.committed += r.sections.committed;
    sum.sections.rolled_back += r.sections.rolled_back;
    sum.sections.owner_died += r.sections.owner_died;
    sum.sections.cut_off += r.sections.cut_off;
    sum.sections.unknown += r.sections.unknown;
    sum.waits.refused += r.waits.refused;
    sum.waits.timeouts += r.waits.timeouts;
    sum.waits.longest_wait_us = std::max(sum.waits.longest_wait_us, r.waits.longest_wait_us);
  });
  const auto n = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf(
      "%llu seeds, %llu messages; %llu crashes, %llu cuts, %llu silences, %llu deaths, %llu joins, %llu settled, %llu "
      "left, %llu stayed; ",
      n(seeds), n(sum.messages), n(sum.crashes), n(sum.cuts), n(sum.silences), n(sum.deaths), n(sum.joins),
      n(sum.settled), n(sum.leaves.left), n(sum.leaves.stayed));
  std::printf("%llu reads, %llu transactions committed (%llu in several blocks), %llu conflicts, %llu unknown\n",
              n(sum.reads), n(sum.committed), n(sum.several), n(sum.conflicts), n(sum.unknown));
  std::printf("%llu accesses of pages, %llu faults, %llu waited for, at most %llu ms, %llu lost; ",
              n(sum.pages.accesses), n(sum.pages.faults), n(sum.pages.answered), n(sum.pages.longest_wait_us / 1000),
              n(sum.pages.lost));
  std::printf("%llu homes moved, %llu told by the log; %llu pages evicted, %llu lent; %llu deaths told\n",
              n(sum.memory.homes_moved), n(sum.memory.homes_told), n(sum.memory.evicted), n(sum.memory.spilled),
              n(sum.memory.buried));
  std::printf("%llu locks taken, %llu of owners that died, %llu had no holder any more; %llu not free, %llu given up; ",
              n(sum.locks.granted), n(sum.locks.owner_died), n(sum.locks.bereft), n(sum.waits.refused),
              n(sum.waits.timeouts));
  std::printf("waited at most %llu ms; ", n(sum.waits.longest_wait_us / 1000));
  std::printf("%llu sections committed, %llu rolled back, %llu after a death, %llu cut off, %llu unknown\n",
              n(sum.sections.committed), n(sum.sections.rolled_back), n(sum.sections.owner_died),
              n(sum.sections.cut_off), n(sum.sections.unknown));
  EXPECT_GT(sum.committed, 50 * seeds);
  return sum;
}

void expect_use_of_pages(const WholeReport& sum) {
  EXPECT_GT(sum.pages.answered, 0u);
  EXPECT_GT(sum.memory.homes_moved, 0u);
  EXPECT_GT(sum.memory.homes_told, 0u);
  EXPECT_GT(sum.memory.evicted, 0u);
  EXPECT_GT(sum.memory.spilled, 0u);
}

void expect_use_of_locks(const WholeReport& sum) {
  EXPECT_GT(sum.sections.committed, 0u);
  EXPECT_GT(sum.sections.rolled_back, 0u);
  EXPECT_GT(sum.locks.granted, 0u);
  EXPECT_GT(sum.waits.refused, 0u);
  EXPECT_GT(sum.waits.timeouts, 0u);
}

void expect_losses(const WholeReport& sum) {
  EXPECT_GT(sum.locks.bereft, 0u);
  EXPECT_GT(sum.locks.owner_died, 0u);
  EXPECT_GT(sum.sections.cut_off, 0u);
  EXPECT_GT(sum.pages.lost, 0u);
  EXPECT_GT(sum.settled, 0u);
}

TEST(WholeSim, everything) {
  const WholeReport sum = run_seeds(40, {});
  EXPECT_GT(sum.crashes, 0u);
  EXPECT_GT(sum.silences, 0u);
  EXPECT_GT(sum.joins, 0u);
  EXPECT_GT(sum.unknown, 0u);
  EXPECT_GT(sum.memory.buried, 0u);
  expect_losses(sum);
  expect_use_of_pages(sum);
  expect_use_of_locks(sum);
}

TEST(WholeSim, nodes_die) {
  const WholeReport sum = run_seeds(40, {.cuts = false, .joins = false, .leaves = false});
  EXPECT_GT(sum.deaths, 0u);
  expect_losses(sum);
  expect_use_of_pages(sum);
  expect_use_of_locks(sum);
}

TEST(WholeSim, links_are_cut) {
  const WholeReport sum = run_seeds(30, {.crashes = false, .joins = false, .leaves = false});
  EXPECT_GT(sum.silences, 0u);
  expect_use_of_pages(sum);
  expect_use_of_locks(sum);
}

TEST(WholeSim, nodes_come_and_go) {
  const WholeReport sum = run_seeds(20, {.crashes = false, .cuts = false});
  EXPECT_EQ(sum.deaths, 0u);
  EXPECT_EQ(sum.pages.lost, 0u);
  EXPECT_GT(sum.leaves.left, 0u);
  EXPECT_GT(sum.settled, 0u);
  expect_use_of_pages(sum);
  expect_use_of_locks(sum);
}

TEST(WholeSim, undisturbed) {
  const WholeReport sum = run_seeds(10, {.crashes = false, .cuts = false, .joins = false, .leaves = false});
  EXPECT_EQ(sum.deaths, 0u);
  EXPECT_EQ(sum.pages.lost, 0u);
  EXPECT_EQ(sum.locks.owner_died, 0u);
  EXPECT_EQ(sum.sections.owner_died, 0u);
  expect_use_of_pages(sum);
  expect_use_of_locks(sum);
}

TEST(WholeSim, nodes_begin_other_lives) {
  const WholeReport sum = run_seeds(80, {.coherent = false});
  EXPECT_GT(sum.crashes, 0u);
  EXPECT_GT(sum.silences, 0u);
  EXPECT_GT(sum.unknown, 0u);
}

TEST(WholeSim, a_seed_replayed_gives_the_same_digest) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) EXPECT_EQ(run_whole(seed, {}).digest, run_whole(seed, {}).digest);
  EXPECT_NE(run_whole(1, {}).digest, run_whole(2, {}).digest);
}

}  // namespace
}  // namespace gallocy::sim
