// Seeded simulations of the VMM log with its replications.
#include <gtest/gtest.h>

#include <cstdio>

#include "coherence_seeds.h"
#include "vmm_simulation.h"

namespace gallocy::sim {
namespace {

VmmReport run_seeds(std::uint64_t usually, const VmmWorkload& workload) {
  VmmReport sum;
  const std::uint64_t seeds = for_each_seed(usually, [&](std::uint64_t seed, bool) {
    const VmmReport r = run_vmm(seed, workload);
    sum.proposals += r.proposals;
    sum.accepted += r.accepted;
    sum.failed += r.failed;
    sum.crashes += r.crashes;
    sum.arrivals += r.arrivals;
    sum.leavings += r.leavings;
    sum.partings += r.partings;
    sum.restores += r.restores;
    sum.partitions += r.partitions;
    for (const int shard : {0, 1}) sum.regions[shard] += r.regions[shard];
  });
  const auto n = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf(
      "%llu seeds, %llu proposals, %llu accepted, %llu failed; %llu crashes, %llu partitions, %llu snapshots "
      "restored\n",
      n(seeds), n(sum.proposals), n(sum.accepted), n(sum.failed), n(sum.crashes), n(sum.partitions), n(sum.restores));
  if (workload.changes)
    std::printf("%llu arrivals, %llu leavings, %llu parted\n", n(sum.arrivals), n(sum.leavings), n(sum.partings));
  EXPECT_GT(sum.accepted, 50 * seeds);
  return sum;
}

TEST(VmmSim, raft_with_partitions_and_crashes) {
  const VmmReport sum = run_seeds(300, {});
  EXPECT_GT(sum.crashes, 0u);
  EXPECT_GT(sum.restores, 0u);
}

TEST(VmmSim, raft_with_crashes) { EXPECT_EQ(run_seeds(150, {.partitions = false}).partitions, 0u); }

TEST(VmmSim, raft_with_nodes_that_come_and_leave) {
  const VmmReport sum = run_seeds(80, {.partitions = false, .crashes = false, .changes = true});
  EXPECT_GT(sum.arrivals, 0u);
  EXPECT_GT(sum.leavings, 0u);
  EXPECT_GT(sum.partings, 0u);
}

TEST(VmmSim, raft_with_everything) {
  const VmmReport sum = run_seeds(100, {.changes = true});
  EXPECT_GT(sum.crashes, 0u);
  EXPECT_GT(sum.leavings, 0u);
}

TEST(VmmSim, raft_on_disk_with_partitions_and_crashes_of_all) {
  const VmmReport sum = run_seeds(200, {.disks = true});
  EXPECT_GT(sum.crashes, 0u);
  EXPECT_GT(sum.restores, 0u);
}

TEST(VmmSim, two_companies_with_partitions_and_crashes) {
  const VmmReport sum = run_seeds(150, {.shards = 2});
  EXPECT_GT(sum.crashes, 0u);
  EXPECT_GT(sum.regions[0], 150u);
  EXPECT_GT(sum.regions[1], 150u);
}

TEST(VmmSim, two_companies_with_everything) {
  const VmmReport sum = run_seeds(100, {.changes = true, .shards = 2});
  EXPECT_GT(sum.leavings, 0u);
  EXPECT_GT(sum.partings, 0u);
}

TEST(VmmSim, raft_undisturbed) { EXPECT_EQ(run_seeds(30, {.partitions = false, .crashes = false}).failed, 0u); }

TEST(VmmSim, keeper_undisturbed) {
  EXPECT_EQ(run_seeds(30, {.raft = false, .partitions = false, .crashes = false}).failed, 0u);
}

TEST(VmmSim, keeper_with_partitions) { EXPECT_EQ(run_seeds(100, {.raft = false, .crashes = false}).failed, 0u); }

// In the log of all who are up.
bool are_members(VmmCluster& cluster, std::vector<NodeId> nodes) {
  for (std::uint16_t n = 0; n < cluster.nodes(); ++n) {
    if (cluster.up(NodeId{n}) && cluster.log(NodeId{n}).machine().members() != nodes) return false;
  }
  return true;
}

void run_until_members(VmmCluster& cluster, std::vector<NodeId> nodes) {
  for (int i = 0; i < 100'000 && !are_members(cluster, nodes); ++i) cluster.run_for(50);
  ASSERT_TRUE(are_members(cluster, nodes));
}

// Programs come to a cluster that has its log on disk. All end, the programs for good.
TEST(VmmScenario, who_forgets_does_not_vote_among_those_who_remember) {
  VmmCluster cluster({.nodes = 3, .disks = true, .newcomers_forget = true});
  const std::vector<NodeId> founders{NodeId{0}, NodeId{1}, NodeId{2}};
  run_until_members(cluster, founders);
  for (int i = 0; i < 4; ++i) cluster.arrive();
  run_until_members(cluster, {NodeId{0}, NodeId{1}, NodeId{2}, NodeId{3}, NodeId{4}, NodeId{5}, NodeId{6}});
  cluster.run_for(2'000'000);
  for (const NodeId node : founders) {
    EXPECT_EQ(cluster.core(node)->configuration().voters,
              (std::set{cluster.server(NodeId{0}), cluster.server(NodeId{1}), cluster.server(NodeId{2})}));
    EXPECT_EQ(cluster.core(node)->configuration().learners.size(), 4u);
  }
  const vmm::Ticket ticket = cluster.fresh_ticket();
  bool accepted = false;
  cluster.on_resolved = [&](vmm::Ticket resolved, const Result<vmm::Outcome>& outcome) {
    accepted |= resolved == ticket && outcome;
  };
  cluster.propose(NodeId{5}, vmm::BindName{"remembered", 1}, ticket);
  for (int i = 0; i < 100'000 && !accepted; ++i) cluster.run_for(50);
  ASSERT_TRUE(accepted);
  for (std::uint16_t n = 0; n < 7; ++n) cluster.crash(NodeId{n});
  for (const NodeId node : founders) cluster.restart(node);
  run_until_members(cluster, founders);
  for (const NodeId node : founders) EXPECT_NE(cluster.log(node).machine().binding("remembered"), nullptr);
}

// Of three voters one leaves and dies. Were one demoted who stays, because two members need one voter only, the leader
// would be left with the dead one as the other voter.
TEST(VmmScenario, who_leaves_is_demoted_before_who_stays) {
  VmmCluster cluster({.nodes = 4});
  const auto members_for_leader = [&] { return cluster.log(NodeId{0}).machine().members().size(); };
  const auto until = [&](std::size_t members) {
    for (int i = 0; i < 100'000 && members_for_leader() != members; ++i) cluster.run_for(50);
    ASSERT_EQ(members_for_leader(), members);
  };
  until(4);
  cluster.leave(NodeId{3});
  until(3);
  cluster.leave(NodeId{2});
  until(2);
  ASSERT_TRUE(cluster.core(NodeId{0})->configuration().voters.contains(cluster.server(NodeId{2})));
  cluster.crash(NodeId{2});
  const vmm::Ticket ticket = cluster.fresh_ticket();
  bool accepted = false;
  cluster.on_resolved = [&](vmm::Ticket resolved, const Result<vmm::Outcome>& outcome) {
    accepted |= resolved == ticket && outcome;
  };
  cluster.run_for(100'000);
  cluster.propose(NodeId{1}, vmm::BindName{"it goes on", 1}, ticket);
  cluster.run_for(10'000'000);
  EXPECT_TRUE(accepted);
  EXPECT_EQ(cluster.core(NodeId{0})->configuration().voters.size(), 1u);
}

TEST(VmmSim, a_seed_replayed_gives_the_same_digest) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) EXPECT_EQ(run_vmm(seed, {}).digest, run_vmm(seed, {}).digest);
  EXPECT_NE(run_vmm(1, {}).digest, run_vmm(2, {}).digest);
}

}  // namespace
}  // namespace gallocy::sim
