// Nodes that come and go (Core::node_joined, introduce, kept, node_left).
#include <gtest/gtest.h>

#include "sync/testing/cluster.h"

namespace gallocy::sync {
namespace {

using namespace testing;

// Numbers for four nodes, of which 0 has founded the cluster and 1 is there too.
class Membership : public ::testing::Test {
 protected:
  void join(NodeId node, const std::vector<NodeId>& others, const std::vector<NodeId>& gone = {}) {
    for (const NodeId other : others) {
      cluster_.at(other, WaiterId{}, [&](Core& core, Effects& effects) {
        core.node_joined(node, effects);
        return Outcome::kGranted;
      });
    }
    cluster_.at(node, WaiterId{}, [&](Core& core, Effects& effects) {
      core.introduce(gone, effects);
      return Outcome::kGranted;
    });
    cluster_.run();
  }
  void leave(NodeId node, const std::vector<NodeId>& others) {
    for (const NodeId other : others) {
      cluster_.at(other, WaiterId{}, [&](Core& core, Effects& effects) {
        core.node_left(node, effects);
        return Outcome::kGranted;
      });
    }
    cluster_.run();
  }
  Outcome finish(NodeId node, Outcome outcome) {
    cluster_.run();
    return outcome == Outcome::kPending ? cluster_.outcome(node) : outcome;
  }

  const SyncId named_ = named_id("m"), made_by_2_ = unnamed_id(n2, 1);
  Cluster cluster_{4, {.present = {n0, n1}, .founders = 1}};
};

TEST_F(Membership, who_comes_is_the_home_of_nothing) {
  join(n2, {n0, n1});
  for (const NodeId node : {n0, n1, n2}) {
    EXPECT_EQ(cluster_.core(node).home_of(named_), n0);
    EXPECT_EQ(cluster_.core(node).home_of(made_by_2_), n0);
  }
}

TEST_F(Membership, a_newcomer_waits_for_what_another_has) {
  EXPECT_EQ(finish(n1, cluster_.lock(n1, named_)), Outcome::kGranted);
  join(n2, {n0, n1});
  EXPECT_EQ(finish(n2, cluster_.lock(n2, named_)), Outcome::kPending);
  cluster_.unlock(n1, named_);
  cluster_.run();
  EXPECT_EQ(cluster_.outcome(n2), Outcome::kGranted);
}

// And it may notice one itself, because it had a link to the node, after the others have recovered from it.
TEST_F(Membership, a_newcomer_knows_of_deaths_before_its_time) {
  cluster_.kill(n1);
  cluster_.run();
  join(n2, {n0}, {n1});
  EXPECT_EQ(cluster_.core(n2).known_deaths(), 1);
  EXPECT_EQ(finish(n2, cluster_.lock(n2, named_)), Outcome::kGranted);
  EXPECT_FALSE(cluster_.core(n0).recovering() || cluster_.core(n2).recovering());
}

// A node died when the newcomer had its links already: everybody has to hear from it.
TEST_F(Membership, a_death_after_a_join_is_recovered_from_by_all) {
  join(n2, {n0, n1});
  EXPECT_EQ(finish(n1, cluster_.lock(n1, named_)), Outcome::kGranted);
  cluster_.kill(n1);
  cluster_.run();
  EXPECT_FALSE(cluster_.core(n0).recovering() || cluster_.core(n2).recovering());
  EXPECT_EQ(finish(n2, cluster_.lock(n2, named_)), Outcome::kOwnerDied);
}

// It leaves again, as somebody died before all had let it in; and does not know of the homes that moved.
TEST_F(Membership, a_newcomer_that_gave_up_was_nobodys_home) {
  const auto both = [&](auto hear) {
    for (const NodeId node : {n0, n1}) {
      (void)cluster_.at(node, WaiterId{}, [&](Core& core, Effects& effects) {
        hear(core, effects);
        return Outcome::kGranted;
      });
    }
  };
  both([](Core& core, Effects& effects) { core.homes_move({.moves = 2}, effects); });
  cluster_.run();
  both([&](Core& core, Effects& effects) { core.node_joined(n2, effects); });
  cluster_.kill(n1);
  cluster_.run();
  EXPECT_TRUE(cluster_.core(n0).recovering() && cluster_.core(n2).recovering());
  EXPECT_TRUE(cluster_.core(n2).has_no_homes());
  leave(n2, {n0});
  EXPECT_FALSE(cluster_.core(n0).recovering());
  EXPECT_EQ(finish(n0, cluster_.lock(n0, named_)), Outcome::kGranted);
}

// They have registered, and said so to all who were there, but have not heard it from each other.
TEST_F(Membership, who_comes_in_the_middle_of_a_recovery_hears_who_has_registered) {
  join(n2, {n0, n1});
  (void)cluster_.at(n3, WaiterId{}, [&](Core& core, Effects& effects) {
    core.node_joined(n2, effects);
    return Outcome::kGranted;
  });
  cluster_.kill(n1);
  cluster_.run_only(wire::SyncVerb::kFlush);
  EXPECT_TRUE(cluster_.core(n0).recovering() && cluster_.core(n2).recovering());
  join(n3, {n0, n2}, {n1});
  EXPECT_FALSE(cluster_.core(n0).recovering() || cluster_.core(n2).recovering() || cluster_.core(n3).recovering());
  EXPECT_EQ(finish(n3, cluster_.lock(n3, named_)), Outcome::kGranted);
}

// It has heard of one of two who are gone, when the others speak to it, who know of both.
TEST_F(Membership, who_comes_hears_what_was_said_to_it_before_it_knew_who_is_gone) {
  const auto bury = [&](NodeId node, NodeId dead) {
    (void)cluster_.at(node, WaiterId{}, [&](Core& core, Effects& effects) {
      core.node_died(dead, effects);
      return Outcome::kGranted;
    });
  };
  join(n2, {n0, n1});
  bury(n1, n0), bury(n1, n2);
  bury(n3, n2);
  (void)cluster_.at(n1, WaiterId{}, [](Core& core, Effects& effects) {
    core.node_joined(n3, effects);
    return Outcome::kGranted;
  });
  cluster_.run();
  EXPECT_TRUE(cluster_.core(n3).recovering());
  (void)cluster_.at(n3, WaiterId{}, [](Core& core, Effects& effects) {
    core.introduce({n0, n2}, effects);
    return Outcome::kGranted;
  });
  cluster_.run();
  EXPECT_FALSE(cluster_.core(n3).recovering());
  EXPECT_TRUE(succeeded(finish(n3, cluster_.lock(n3, named_))));
}

TEST_F(Membership, who_leaves_gives_its_tokens_back) {
  join(n2, {n0, n1});
  EXPECT_EQ(finish(n2, cluster_.lock(n2, named_)), Outcome::kGranted);
  cluster_.unlock(n2, named_);
  const auto kept = cluster_.core(n2).kept();
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_EQ(kept[0].id, named_);
  EXPECT_EQ(kept[0].home, n0);
  EXPECT_FALSE(kept[0].is_shared_mutex);
  EXPECT_EQ(finish(n0, cluster_.lock(n0, named_, w2)), Outcome::kPending);  // woken as w2
  EXPECT_EQ(cluster_.outcome(n0, w2), Outcome::kGranted);
  cluster_.unlock(n0, named_);
  EXPECT_TRUE(cluster_.core(n2).kept().empty());
  leave(n2, {n0, n1});
  EXPECT_EQ(finish(n1, cluster_.lock(n1, named_)), Outcome::kGranted);  // and not that its owner died
  EXPECT_EQ(cluster_.core(n0).known_deaths(), 0);
}

// A thread of the leaver asked for the token, and gave up: it comes all the same.
TEST_F(Membership, who_leaves_waits_for_a_token_that_is_to_come) {
  join(n2, {n0, n1});
  EXPECT_EQ(finish(n1, cluster_.lock(n1, named_)), Outcome::kGranted);
  EXPECT_EQ(finish(n2, cluster_.lock(n2, named_)), Outcome::kPending);
  EXPECT_EQ(cluster_.cancel(n2, named_), Outcome::kTimeout);
  ASSERT_EQ(cluster_.core(n2).kept().size(), 1u);
  EXPECT_FALSE(cluster_.core(n2).kept()[0].is_here);
  cluster_.unlock(n1, named_);
  cluster_.run();
  ASSERT_EQ(cluster_.core(n2).kept().size(), 1u);
  EXPECT_TRUE(cluster_.core(n2).kept()[0].is_here);
}

// Whoever waits goes on waiting: that another node leaves is no loss.
TEST_F(Membership, waits_outlive_one_who_leaves) {
  join(n2, {n0, n1});
  const SyncId barrier = named_id("b");
  const auto arrive = [&](Core& core, Effects& effects) { return core.arrive(barrier, 2, w1, effects); };
  EXPECT_EQ(finish(n1, cluster_.at(n1, w1, arrive)), Outcome::kPending);
  leave(n2, {n0, n1});
  EXPECT_EQ(cluster_.outcome(n1), Outcome::kPending);
  (void)cluster_.at(n0, w1, arrive);
  cluster_.run();
  EXPECT_EQ(cluster_.outcome(n1), Outcome::kGranted);
}

}  // namespace
}  // namespace gallocy::sync
