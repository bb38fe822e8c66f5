#include "sync/core.h"

#include <gtest/gtest.h>

#include <bit>

#include "base/prng.h"
#include "sync/testing/cluster.h"

namespace gallocy::sync::testing {
namespace {

const SyncId kOf0 = unnamed_id(n0, 1);

Outcome acquire(Cluster& cluster, NodeId node, WaiterId w = w1) {
  return cluster.at(node, w, [&](Core& c, Effects& e) { return c.acquire(kOf0, 1, w, e); });
}
void release(Cluster& cluster, NodeId node) {
  cluster.at(node, WaiterId{}, [&](Core& c, Effects& e) { return c.release(kOf0, 1, 1, e); });
}
Outcome arrive(Cluster& cluster, NodeId node, std::uint32_t expected, WaiterId w = w1) {
  return cluster.at(node, w, [&](Core& c, Effects& e) { return c.arrive(kOf0, expected, w, e); });
}
Outcome latch_wait(Cluster& cluster, NodeId node, WaiterId w = w1) {
  return cluster.at(node, w, [&](Core& c, Effects& e) { return c.latch_wait(kOf0, 2, w, e); });
}
void count_down(Cluster& cluster, NodeId node) {
  cluster.at(node, WaiterId{}, [&](Core& c, Effects& e) { return c.count_down(kOf0, 2, 1, e); });
}
Outcome once_call(Cluster& cluster, NodeId node, WaiterId w = w1) {
  return cluster.at(node, w, [&](Core& c, Effects& e) { return c.once_call(kOf0, w, e); });
}
void once_end(Cluster& cluster, NodeId node, bool success) {
  cluster.at(node, WaiterId{}, [&](Core& c, Effects& e) { return c.once_end(kOf0, success, e); });
}
Outcome meet(Cluster& cluster, NodeId node) {
  return cluster.at(node, w1, [&](Core& c, Effects& e) { return c.meet(w1, e); });
}

TEST(Semaphore, permits_go_to_waiters_in_order) {
  Cluster cluster(3);
  EXPECT_EQ(acquire(cluster, n0), Outcome::kGranted);
  acquire(cluster, n2);
  cluster.run();
  acquire(cluster, n1);
  cluster.run();
  release(cluster, n1);  // any thread may release
  cluster.run();
  EXPECT_EQ(cluster.outcome(n2), Outcome::kGranted);
  EXPECT_EQ(cluster.outcome(n1), Outcome::kPending);
}

TEST(Semaphore, permit_that_crosses_a_cancel_is_given_back) {
  Cluster cluster(2);
  acquire(cluster, n1);
  cluster.deliver_first();
  EXPECT_EQ(cluster.cancel(n1, kOf0), Outcome::kTimeout);
  cluster.run();
  EXPECT_EQ(acquire(cluster, n0), Outcome::kGranted);
}

TEST(Semaphore, death_ends_waits_and_waits_to_come_until_acknowledged) {
  Cluster cluster(3);
  acquire(cluster, n0);
  acquire(cluster, n1);
  cluster.run();
  cluster.kill(n2);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n1), Outcome::kPeerLost);
  acquire(cluster, n1, w2);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n1, w2), Outcome::kPeerLost);
  cluster.core(n1).acknowledge_losses();
  acquire(cluster, n1, w3);
  release(cluster, n0);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n1, w3), Outcome::kGranted);
}

TEST(Semaphore, count_dies_with_the_home) {
  Cluster cluster(3);
  acquire(cluster, n1);
  cluster.run();
  cluster.kill(n0);
  cluster.run();
  acquire(cluster, n2);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n2), Outcome::kPeerLost);
}

TEST(Barrier, phases_take_one_message_per_node_and_way) {
  Cluster cluster(3);
  for (int phase = 0; phase < 3; ++phase) {
    for (const NodeId node : {n0, n1, n2}) {
      arrive(cluster, node, 6, w1);
      arrive(cluster, node, 6, w2);
    }
    // The first phase teaches how many threads of each node come.
    EXPECT_EQ(cluster.run(), phase == 0 ? 6u : 4u);
    for (const NodeId node : {n0, n1, n2}) EXPECT_EQ(cluster.outcome(node, w2), Outcome::kGranted);
  }
}

TEST(Barrier, arrivals_held_back_in_vain_are_sent_after_two_ticks) {
  Cluster cluster(2);
  arrive(cluster, n1, 2, w1);
  arrive(cluster, n1, 2, w2);
  cluster.run();
  arrive(cluster, n1, 2, w1);  // the other one is now at node 0
  arrive(cluster, n0, 2, w2);
  EXPECT_EQ(cluster.run(), 0u);
  cluster.tick(n1);
  cluster.tick(n1);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n1, w1), Outcome::kGranted);
  EXPECT_EQ(cluster.outcome(n0, w2), Outcome::kGranted);
}

TEST(Barrier, another_number_of_threads_is_refused) {
  Cluster cluster(2);
  arrive(cluster, n0, 3);
  arrive(cluster, n1, 2);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n1), Outcome::kMismatch);
}

TEST(Barrier, death_breaks_it) {
  Cluster cluster(3);
  arrive(cluster, n0, 3);
  arrive(cluster, n1, 3);
  cluster.run();
  cluster.kill(n2);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n0), Outcome::kPeerLost);
  EXPECT_EQ(cluster.outcome(n1), Outcome::kPeerLost);
  EXPECT_EQ(arrive(cluster, n1, 3, w2), Outcome::kPeerLost);
}

TEST(Latch, opens_for_all_and_stays_open) {
  Cluster cluster(3);
  latch_wait(cluster, n1);
  count_down(cluster, n0);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n1), Outcome::kPending);
  count_down(cluster, n2);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n1), Outcome::kGranted);
  EXPECT_EQ(latch_wait(cluster, n1), Outcome::kGranted);
  EXPECT_EQ(cluster.run(), 0u);
}

TEST(Latch, open_latch_survives_its_home) {
  Cluster cluster(3);
  latch_wait(cluster, n1);
  count_down(cluster, n0);
  count_down(cluster, n0);
  cluster.run();
  cluster.kill(n0);
  cluster.run();
  latch_wait(cluster, n2);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n2), Outcome::kGranted);
}

TEST(Once, runs_on_one_thread) {
  Cluster cluster(3);
  EXPECT_EQ(once_call(cluster, n0), Outcome::kRun);
  once_call(cluster, n1);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n1), Outcome::kPending);
  once_end(cluster, n0, true);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n1), Outcome::kGranted);
}

TEST(Once, another_runs_it_when_the_runner_fails_or_dies) {
  Cluster cluster(4);
  once_call(cluster, n1);
  cluster.run();
  once_call(cluster, n2);
  cluster.run();
  once_call(cluster, n3);
  cluster.run();
  once_end(cluster, n1, false);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n2), Outcome::kRun);
  cluster.kill(n2);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n3), Outcome::kRun);
}

TEST(Once, runner_goes_on_when_the_home_dies) {
  Cluster cluster(3);
  once_call(cluster, n1);
  cluster.run();
  once_call(cluster, n2);
  cluster.run();
  cluster.kill(n0);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n2), Outcome::kPending);
  once_end(cluster, n1, true);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n2), Outcome::kGranted);
}

TEST(Meet, takes_two_messages_per_node_but_one_and_logarithmic_depth) {
  for (std::uint16_t nodes = 1; nodes <= 33; ++nodes) {
    Cluster cluster(nodes);
    for (std::uint16_t i = 0; i < nodes; ++i) meet(cluster, NodeId{i});
    EXPECT_EQ(cluster.run(), 2u * (nodes - 1u)) << nodes;
    EXPECT_LE(cluster.deepest(), 2u * static_cast<unsigned>(std::bit_width(nodes - 1u))) << nodes;
    for (std::uint16_t i = 0; i < nodes; ++i) EXPECT_EQ(cluster.outcome(NodeId{i}), Outcome::kGranted);
  }
}

TEST(Meet, nobody_leaves_before_the_last_has_come) {
  Cluster cluster(5);
  for (std::uint16_t i = 0; i < 4; ++i) meet(cluster, NodeId{i});
  cluster.run();
  for (std::uint16_t i = 0; i < 4; ++i) EXPECT_EQ(cluster.outcome(NodeId{i}), Outcome::kPending);
  meet(cluster, NodeId{4});
  cluster.run();
  for (std::uint16_t i = 0; i < 5; ++i) EXPECT_EQ(cluster.outcome(NodeId{i}), Outcome::kGranted);
}

TEST(Meet, second_thread_of_a_node_is_refused) {
  Cluster cluster(2);
  meet(cluster, n0);
  EXPECT_EQ(cluster.at(n0, w2, [&](Core& c, Effects& e) { return c.meet(w2, e); }), Outcome::kMismatch);
}

TEST(Meet, survivors_meet_after_acknowledging) {
  Cluster cluster(4);
  for (const NodeId node : {n0, n1, n3}) meet(cluster, node);
  cluster.kill(n2);
  cluster.run();
  for (const NodeId node : {n0, n1, n3}) {
    EXPECT_EQ(cluster.outcome(node), Outcome::kPeerLost);
    EXPECT_EQ(meet(cluster, node), Outcome::kPeerLost);
    cluster.core(node).acknowledge_losses();
  }
  for (const NodeId node : {n0, n1, n3}) meet(cluster, node);
  EXPECT_EQ(cluster.run(), 4u);
  for (const NodeId node : {n0, n1, n3}) EXPECT_EQ(cluster.outcome(node), Outcome::kGranted);
}

TEST(Core, one_number_is_one_kind_of_object) {
  Cluster cluster(2);
  cluster.lock(n0, kOf0);
  EXPECT_EQ(acquire(cluster, n0, w2), Outcome::kMismatch);
  acquire(cluster, n1);
  cluster.run();
  EXPECT_EQ(cluster.outcome(n1), Outcome::kMismatch);
}

TEST(Core, number_that_no_node_can_have_made_is_refused) {
  Cluster cluster(2);
  EXPECT_EQ(cluster.lock(n0, SyncId{0}), Outcome::kMismatch);
  EXPECT_EQ(cluster.lock(n0, unnamed_id(NodeId{2}, 1)), Outcome::kMismatch);
}

// Found by the simulator: a request that was sent when only one of two deaths was known reaches the heir of the object
// before the news that the function has run.
TEST(Core, request_of_an_older_view_waits_until_the_heir_knows_everything) {
  Core heir({.self = n2, .nodes = 4});
  Effects effects;
  heir.node_died(n1, effects);
  heir.node_died(n0, effects);
  const std::uint64_t older = effects.front().message.view, view = effects.back().message.view;
  effects.clear();
  heir.message(n3, {.object = kOf0.value, .view = older, .ticket = 9, .verb = wire::SyncVerb::kOnceCall}, effects);
  EXPECT_TRUE(effects.empty());
  heir.message(n3, {.view = view, .verb = wire::SyncVerb::kFlush}, effects);
  const wire::SyncMessage has_run{
      .object = kOf0.value, .view = view, .verb = wire::SyncVerb::kOnceRegister, .mode = wire::kSyncDone};
  heir.message(n3, has_run, effects);
  effects.clear();
  heir.message(n3, {.view = view, .verb = wire::SyncVerb::kRebuilt}, effects);
  ASSERT_EQ(effects.size(), 1u);
  EXPECT_EQ(effects.front().message.verb, wire::SyncVerb::kOnceDone);
}

TEST(Core, messages_of_the_dead_are_ignored) {
  Cluster cluster(3);
  cluster.kill(n1);
  cluster.run();
  cluster.send(n1, n0, {.object = kOf0.value, .ticket = 1, .verb = wire::SyncVerb::kMutexAcquire});
  EXPECT_EQ(cluster.run(), 1u);
  EXPECT_EQ(cluster.core(n0).counters().from_dead, 1u);
}

TEST(Core, garbage_is_refused_and_harmless) {
  Prng prng(1);
  Effects effects;
  for (int round = 0; round < 200; ++round) {
    Core core({.self = n1, .nodes = 3});
    for (int i = 0; i < 300; ++i) {
      const SyncId id = prng.one_in(2) ? unnamed_id(NodeId(static_cast<std::uint16_t>(prng.below(4))), prng.below(3))
                                       : named_id(std::string(1, static_cast<char>('a' + prng.below(3))));
      const WaiterId waiter{static_cast<std::uint64_t>(i) + 1};
      switch (prng.below(12)) {
        case 0:
          core.lock(id, waiter, effects);
          break;
        case 1:
          core.unlock(id, effects);
          break;
        case 2:
          core.try_lock(id, waiter, effects);
          break;
        case 3:
          core.rw_lock(id, prng.one_in(2) ? LockMode::kShared : LockMode::kExclusive, waiter, effects);
          break;
        case 4:
          core.acquire(id, 2, waiter, effects);
          break;
        case 5:
          core.arrive(id, 2, waiter, effects);
          break;
        case 6:
          core.once_call(id, waiter, effects);
          break;
        case 7:
          core.latch_wait(id, 2, waiter, effects);
          break;
        case 8:
          core.tick(effects);
          break;
        default:
          break;
      }
      if (prng.one_in(200)) core.node_died(prng.one_in(2) ? n0 : n2, effects);
      wire::SyncMessage m;
      m.object = prng.one_in(8) ? prng() : id.value;
      m.view = prng.one_in(8) ? prng() : std::uint64_t{prng.below(2)} << 48;
      m.ticket = static_cast<std::uint32_t>(prng.below(6));
      m.other = static_cast<std::uint32_t>(prng.one_in(4) ? prng() : prng.below(4));
      m.count = static_cast<std::uint32_t>(prng.one_in(4) ? prng() : prng.below(4));
      m.node = static_cast<std::uint16_t>(prng.below(5));
      m.verb = static_cast<wire::SyncVerb>(prng.below(wire::kSyncVerbs + 2));
      m.mode = static_cast<std::uint8_t>(prng.below(32));
      core.message(NodeId(static_cast<std::uint16_t>(prng.below(5))), m, effects);
      effects.clear();
    }
    EXPECT_GT(core.counters().refused, 0u);
  }
}

}  // namespace
}  // namespace gallocy::sync::testing
