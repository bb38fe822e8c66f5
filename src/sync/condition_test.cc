#include "sync/condition.h"

#include <gtest/gtest.h>

#include "sync/testing/cluster.h"

namespace gallocy::sync::testing {
namespace {

const SyncId kMutex = unnamed_id(n0, 1);
const SyncId kCondition = unnamed_id(n1, 1);

struct ConditionCluster : Cluster {
  using Cluster::Cluster;
  Outcome wait(NodeId node, WaiterId w = w1) {
    return at(node, w, [&](Core& c, Effects& e) { return c.wait(kCondition, kMutex, w, e); });
  }
  void notify(NodeId node, Notify whom) {
    at(node, WaiterId{}, [&](Core& c, Effects& e) { return c.notify(kCondition, whom, e); });
  }
  // Locks, waits, and returns when the wait is confirmed and the mutex free again.
  void lock_and_wait(NodeId node, WaiterId w = w1) {
    lock(node, kMutex, w);
    run();
    wait(node, w);
    run();
  }
};

TEST(Condition, wait_without_the_mutex_is_refused) {
  ConditionCluster cluster(2);
  EXPECT_EQ(cluster.wait(n0), Outcome::kMismatch);
}

TEST(Condition, mutex_is_released_only_when_the_home_knows_the_waiter) {
  ConditionCluster cluster(3);
  cluster.lock(n0, kMutex);
  cluster.wait(n0);
  EXPECT_EQ(cluster.try_lock(n0, kMutex, w2), Outcome::kWouldBlock);
  cluster.run();
  EXPECT_EQ(cluster.lock(n0, kMutex, w2), Outcome::kGranted);
}

TEST(Condition, notified_thread_wakes_with_the_mutex) {
  ConditionCluster cluster(3);
  cluster.lock_and_wait(n2);
  cluster.lock(n0, kMutex);
  cluster.run();
  cluster.notify(n0, Notify::kOne);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n2), Outcome::kPending);
  cluster.unlock(n0, kMutex);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n2), Outcome::kGranted);
  EXPECT_EQ(cluster.unlock(n2, kMutex), Outcome::kGranted);
}

TEST(Condition, notify_all_wakes_one_after_the_other) {
  ConditionCluster cluster(3);
  cluster.lock_and_wait(n0);
  cluster.lock_and_wait(n2, w1);
  cluster.lock_and_wait(n2, w2);
  cluster.notify(n0, Notify::kAll);
  cluster.run();
  int woken = 0;
  for (int turn = 0; turn < 3; ++turn) {
    woken = 0;
    NodeId holder{};
    for (const auto& [node, waiter] : {std::pair{n0, w1}, std::pair{n2, w1}, std::pair{n2, w2}}) {
      woken += cluster.outcome(node, waiter) == Outcome::kGranted;
      if (cluster.core(node).object(kMutex) && std::get<Mutex>(cluster.core(node).object(kMutex)->state).held())
        holder = node;
    }
    EXPECT_EQ(woken, turn + 1);
    EXPECT_EQ(cluster.unlock(holder, kMutex), Outcome::kGranted);
    cluster.run();
  }
}

TEST(Condition, notification_that_crosses_a_timeout_goes_to_another) {
  ConditionCluster cluster(3);
  cluster.lock_and_wait(n0);
  cluster.lock_and_wait(n2);
  cluster.notify(n1, Notify::kOne);  // chooses node 0
  EXPECT_EQ(cluster.cancel(n0, kCondition), Outcome::kPending);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n0), Outcome::kTimeout);
  cluster.unlock(n0, kMutex);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n2), Outcome::kGranted);
}

TEST(Condition, death_ends_waits_with_the_mutex_held) {
  ConditionCluster cluster(3);
  cluster.lock_and_wait(n0);
  cluster.kill(n1);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n0), Outcome::kPeerLost);
  EXPECT_EQ(cluster.unlock(n0, kMutex), Outcome::kGranted);
}

}  // namespace
}  // namespace gallocy::sync::testing
