#include "sync/rw_lock.h"

#include <gtest/gtest.h>

#include "sync/testing/cluster.h"

namespace gallocy::sync::testing {
namespace {

const SyncId kOf0 = unnamed_id(n0, 1);

struct RwCluster : Cluster {
  using Cluster::Cluster;
  Outcome read(NodeId node, WaiterId w = w1) {
    return at(node, w, [&](Core& c, Effects& e) { return c.rw_lock(kOf0, LockMode::kShared, w, e); });
  }
  Outcome write(NodeId node, WaiterId w = w1) {
    return at(node, w, [&](Core& c, Effects& e) { return c.rw_lock(kOf0, LockMode::kExclusive, w, e); });
  }
  Outcome try_write(NodeId node, WaiterId w = w1) {
    return at(node, w, [&](Core& c, Effects& e) { return c.try_rw_lock(kOf0, LockMode::kExclusive, w, e); });
  }
  Outcome done(NodeId node, LockMode mode) {
    return at(node, WaiterId{}, [&](Core& c, Effects& e) { return c.rw_unlock(kOf0, mode, e); });
  }
};

TEST(RwLock, readers_of_many_nodes_read_together) {
  RwCluster cluster(3);
  for (const NodeId node : {n0, n1, n2}) cluster.read(node);
  cluster.run();
  for (const NodeId node : {n0, n1, n2}) EXPECT_EQ(cluster.outcome(node), Outcome::kGranted);
}

TEST(RwLock, cached_right_to_read_needs_no_message) {
  RwCluster cluster(2);
  cluster.read(n1);
  EXPECT_EQ(cluster.run(), 2u);
  cluster.done(n1, LockMode::kShared);
  EXPECT_EQ(cluster.read(n1), Outcome::kGranted);
  EXPECT_EQ(cluster.run(), 0u);
}

TEST(RwLock, writer_waits_for_all_readers_and_later_readers_for_it) {
  RwCluster cluster(4);
  cluster.read(n1);
  cluster.read(n2);
  cluster.run();
  cluster.write(n3);
  cluster.run();
  cluster.read(n1, w2);
  cluster.done(n1, LockMode::kShared);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n3), Outcome::kPending);
  cluster.done(n2, LockMode::kShared);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n3), Outcome::kGranted);
  EXPECT_EQ(cluster.outcome(n1, w2), Outcome::kPending);
  cluster.done(n3, LockMode::kExclusive);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n1, w2), Outcome::kGranted);
}

TEST(RwLock, idle_reader_upgrades_in_one_round_trip) {
  RwCluster cluster(2);
  cluster.read(n1);
  cluster.run();
  cluster.done(n1, LockMode::kShared);
  cluster.write(n1);
  EXPECT_EQ(cluster.run(), 2u);
  EXPECT_EQ(cluster.outcome(n1), Outcome::kGranted);
}

TEST(RwLock, try_takes_rights_that_are_only_cached) {
  RwCluster cluster(3);
  for (const NodeId node : {n0, n1}) {
    cluster.read(node);
    cluster.run();
    cluster.done(node, LockMode::kShared);
  }
  cluster.try_write(n2);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n2), Outcome::kGranted);
}

TEST(RwLock, try_would_block_on_a_reader_that_reads) {
  RwCluster cluster(3);
  cluster.read(n0);
  cluster.read(n1);
  cluster.run();
  cluster.try_write(n2);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n2), Outcome::kWouldBlock);
  EXPECT_EQ(cluster.read(n1, w2), Outcome::kGranted);  // nothing was taken away
}

TEST(RwLock, everybody_is_told_of_a_dead_writer_until_a_writer_has_repaired) {
  RwCluster cluster(4);
  cluster.write(n1);
  cluster.run();
  cluster.kill(n1);
  for (const NodeId node : {n2, n3}) cluster.read(node);
  cluster.run();
  for (const NodeId node : {n2, n3}) {
    EXPECT_EQ(cluster.outcome(node), Outcome::kOwnerDied);
    cluster.done(node, LockMode::kShared);
  }
  cluster.write(n2);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n2), Outcome::kOwnerDied);
  cluster.done(n2, LockMode::kExclusive);
  cluster.read(n3);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n3), Outcome::kGranted);
}

TEST(RwLock, death_of_the_home_keeps_readers_reading) {
  RwCluster cluster(3);
  cluster.read(n1);
  cluster.run();
  cluster.kill(n0);
  cluster.write(n2);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n2), Outcome::kPending);
  cluster.done(n1, LockMode::kShared);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n2), Outcome::kGranted);
}

}  // namespace
}  // namespace gallocy::sync::testing
