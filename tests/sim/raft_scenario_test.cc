// Histories from the literature, message by message; each also with the bug that it is the example of. § is Ongaro,
// "Consensus: bridging theory and practice", 2014.
#include <gtest/gtest.h>

#include "raft_script.h"

namespace gallocy::sim {
namespace {

using raft::Change;
using raft::Mutant;
using raft::Refusal;
using raft::Role;

// Figure 3.7 (Figure 8 of the paper), up to (c): an entry of term 2 is on a majority, and the leader of term 4 knows.
RaftScript figure_8(Mutant mutant) {
  RaftScript s(5, 5, mutant);
  EXPECT_TRUE(s.elect(0, {1, 2}));  // (a) S1 leads, its entry reaches S2 only
  s.hand(0, 1);
  EXPECT_TRUE(s.elect(4, {2, 3}));  // (b) S5 leads, with an entry that nobody gets
  s.resign(0);
  EXPECT_TRUE(s.elect(0, {1, 2}));  // (c) S1 leads again, and S3 gets the old entry, but not the new one
  s.hand(0, 2);
  s.hand(2, 0);
  EXPECT_TRUE(s.deliver(0, 2));
  s.hand(2, 0);
  EXPECT_TRUE(s.deliver(0, 1));  // the heartbeat, which S2 answers: it has the old entry too
  s.hand(1, 0);
  EXPECT_EQ(s.core(1).log().last(), LogIndex{2});
  EXPECT_EQ(s.core(0).followers().at(s.id(1)).match, LogIndex{2});
  EXPECT_EQ(s.core(0).followers().at(s.id(2)).match, LogIndex{2});
  EXPECT_EQ(s.core(2).log().last(), LogIndex{2});
  EXPECT_EQ(s.core(2).log().last_term(), s.core(1).log().term_at(LogIndex{2}));
  return s;
}

TEST(RaftScenario, figure_8_entry_of_a_former_term_is_not_committed_by_counting) {
  RaftScript s = figure_8(Mutant::kNone);
  EXPECT_LT(s.core(0).commit(), LogIndex{2});
  // (d) S5 may still win, and its entry takes the place of the other everywhere.
  EXPECT_TRUE(s.elect(4, {1, 2, 3}));
  s.deliver_all();
  s.expire(4);
  s.deliver_all();
  EXPECT_EQ(s.core(4).commit(), s.core(4).log().last());
  EXPECT_EQ(s.core(0).log().term_at(LogIndex{2}), s.core(4).log().term_at(LogIndex{2}));
}

TEST(RaftScenario, figure_8_entry_of_the_present_term_commits_the_former_ones) {
  RaftScript s = figure_8(Mutant::kNone);
  // (e) An entry of S1's own term on a majority: now S5 cannot win.
  for (int i = 0; i < 4; ++i) {
    for (const std::uint16_t node : {1, 2}) {
      s.hand(0, node);
      s.hand(node, 0);
    }
  }
  EXPECT_EQ(s.core(0).commit(), s.core(0).log().last());
  EXPECT_FALSE(s.elect(4, {1, 2, 3}));
}

TEST(RaftScenarioDeathTest, figure_8_is_seen_when_replicas_are_counted) {
  EXPECT_DEATH(
      {
        RaftScript s = figure_8(Mutant::kCommitOlderTerm);
        s.elect(4, {1, 2, 3});
        s.deliver_all();
      },
      "committed");
}

// Ongaro, "bug in single-server membership changes", raft-dev, 10 July 2015. Four servers; S1 begins to add S5; S2 wins
// the next term without knowing of it and removes S1, which two of the remaining three make final; then S1 wins
// with S4 and S5.
RaftScript two_changes(Mutant mutant) {
  RaftScript s(5, 4, mutant);
  EXPECT_TRUE(s.elect(0, {1, 2}));
  s.deliver_all();
  EXPECT_TRUE(s.change(0, Change::Kind::kAddLearner, 4));
  s.deliver_all();
  s.expire(0);
  s.deliver_all();
  EXPECT_TRUE(s.change(0, Change::Kind::kPromote, 4));
  s.hand(0, 4);
  EXPECT_TRUE(s.elect(1, {2, 3}));
  return s;
}

TEST(RaftScenario, a_change_waits_for_an_entry_of_the_leaders_term) {
  RaftScript s = two_changes(Mutant::kNone);
  const auto refused = s.change(1, Change::Kind::kRemove, 0);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), Refusal::kTermNotBegun);
  s.deliver_all();
  EXPECT_TRUE(s.change(1, Change::Kind::kRemove, 0));
  s.hand(1, 2);
  s.hand(2, 1);
  EXPECT_FALSE(s.elect(0, {3, 4}));
}

TEST(RaftScenarioDeathTest, two_changes_at_once_are_seen) {
  EXPECT_DEATH(
      {
        RaftScript s = two_changes(Mutant::kChangeBeforeNoOp);
        s.change(1, Change::Kind::kRemove, 0);
        s.exchange(1, 2);
        s.resign(0);
        s.elect(0, {3, 4});
      },
      "lacks a committed entry");
}

TEST(RaftScenario, one_change_at_a_time) {
  RaftScript s(4, 4);
  s.elect(0, {1, 2});
  s.deliver_all();
  EXPECT_TRUE(s.change(0, Change::Kind::kRemove, 3));
  EXPECT_EQ(s.change(0, Change::Kind::kRemove, 2).error(), Refusal::kChangePending);
  s.deliver_all();
  EXPECT_TRUE(s.change(0, Change::Kind::kRemove, 2));
}

// §4.2.2
TEST(RaftScenario, a_leader_that_removes_itself_steps_down_when_that_is_committed) {
  RaftScript s(3, 3);
  s.elect(0, {1, 2});
  s.deliver_all();
  EXPECT_TRUE(s.change(0, Change::Kind::kRemove, 0));
  EXPECT_TRUE(s.leads(0));
  s.hand(0, 1);
  s.hand(1, 0);
  EXPECT_TRUE(s.leads(0)) << "one of two is no majority, and its own vote does not count";
  s.deliver_all();
  EXPECT_FALSE(s.leads(0));
  EXPECT_TRUE(s.elect(1, {2}));
  const raft::Term term = s.core(0).term();
  for (int i = 0; i < 3; ++i) s.expire(0);
  EXPECT_EQ(s.core(0).term(), term);
}

// §4.2.1
TEST(RaftScenario, a_learner_that_is_behind_is_not_promoted) {
  RaftScript s(4, 3);
  s.elect(0, {1, 2});
  s.deliver_all();
  s.isolate(3);
  EXPECT_TRUE(s.change(0, Change::Kind::kAddLearner, 3));
  s.deliver_all();
  EXPECT_EQ(s.change(0, Change::Kind::kPromote, 3).error(), Refusal::kNotCaughtUp);
  s.mend_all();
  s.expire(0);
  s.deliver_all();
  EXPECT_TRUE(s.change(0, Change::Kind::kPromote, 3));
}

// §4.2.3, §9.6: a server that was cut off comes back.
raft::Term term_after_a_server_was_cut_off(Mutant mutant) {
  RaftScript s(3, 3, mutant);
  s.elect(0, {1, 2});
  s.deliver_all();
  s.isolate(2);
  for (int i = 0; i < 5; ++i) {
    s.expire(2);
    s.deliver_all();
  }
  s.mend_all();
  s.expire(0);
  s.deliver_all();
  return s.core(0).term();
}

TEST(RaftScenario, a_server_that_was_cut_off_deposes_nobody) {
  EXPECT_EQ(term_after_a_server_was_cut_off(Mutant::kNone), raft::Term{2});
  EXPECT_GT(term_after_a_server_was_cut_off(Mutant::kNoPreVote), raft::Term{2});
}

TEST(RaftScenario, a_removed_server_deposes_nobody) {
  RaftScript s(4, 4);
  s.elect(0, {1, 2, 3});
  s.deliver_all();
  s.cut(0, 3);
  EXPECT_TRUE(s.change(0, Change::Kind::kRemove, 3));
  s.deliver_all();
  s.mend_all();
  for (int i = 0; i < 5; ++i) {
    s.expire(0);
    s.deliver_all();
    s.expire(3);
    s.deliver_all();
  }
  EXPECT_TRUE(s.leads(0));
  EXPECT_EQ(s.core(0).term(), raft::Term{2});
}

// §6.2: a leader that is heard but hears nobody would keep the others from electing one that can commit.
Role role_of_a_deaf_leader(Mutant mutant) {
  RaftScript s(3, 3, mutant);
  s.elect(0, {1, 2});
  s.deliver_all();
  s.cut(1, 0);
  s.cut(2, 0);
  for (int i = 0; i < 8; ++i) {
    s.expire(0);
    s.deliver_all();
  }
  return s.core(0).role();
}

TEST(RaftScenario, a_leader_that_hears_no_majority_steps_down) {
  EXPECT_NE(role_of_a_deaf_leader(Mutant::kNone), Role::kLeader);
  EXPECT_EQ(role_of_a_deaf_leader(Mutant::kNoCheckQuorum), Role::kLeader);
}

// §3.10
TEST(RaftScenario, transfer_brings_the_target_up_to_date_first) {
  RaftScript s(3, 3);
  s.elect(0, {1, 2});
  s.deliver_all();
  s.cut(0, 1);
  for (std::uint64_t i = 1; i <= 3; ++i) EXPECT_TRUE(s.propose(0, i));
  s.deliver_all();
  s.mend_all();
  EXPECT_TRUE(s.transfer(0, 1));
  EXPECT_EQ(s.propose(0, 9).error(), Refusal::kTransferring);
  EXPECT_FALSE(s.leads(1));
  s.expire(0);
  s.deliver_all();
  EXPECT_TRUE(s.leads(1));
  EXPECT_FALSE(s.leads(0));
  EXPECT_EQ(s.machine(1).read(0), 3u);
}

TEST(RaftScenario, transfer_to_a_server_that_does_not_answer_ends) {
  RaftScript s(3, 3);
  s.elect(0, {1, 2});
  s.deliver_all();
  s.isolate(1);
  EXPECT_TRUE(s.transfer(0, 1));
  for (int i = 0; i < 5; ++i) {
    s.expire(0);
    s.deliver_all();
  }
  EXPECT_TRUE(s.leads(0));
  EXPECT_TRUE(s.propose(0, 5));
  s.deliver_all();
  EXPECT_EQ(s.machine(0).read(0), 5u);
}

// §5.3 and §4: the log is compacted while a server joins, and the configuration changes while its snapshot is sent.
TEST(RaftScenario, snapshot_during_changes_of_membership) {
  RaftClusterOptions o = RaftScript::options(4, 3, Mutant::kNone);
  o.core.batch_bytes = 20;  // several chunks
  o.core.snapshot_window_bytes = 1;
  RaftScript s(o);
  s.elect(0, {1, 2});
  s.deliver_all();
  for (std::uint64_t i = 1; i <= 5; ++i) s.propose(0, i);
  s.deliver_all();
  s.take_snapshot(0);
  EXPECT_TRUE(s.change(0, Change::Kind::kAddLearner, 3));
  const auto exchange = [&](RaftScript::Nodes nodes) {
    for (const std::uint16_t node : nodes) s.hand(0, node), s.hand(node, 0);
  };
  exchange({1, 2, 3});
  exchange({1, 2, 3});
  EXPECT_EQ(s.core(0).followers().at(s.id(3)).state, raft::Progress::State::kSnapshot);
  // The snapshot under way knows nothing of these, nor of the one that takes its place.
  EXPECT_TRUE(s.change(0, Change::Kind::kRemove, 2));
  exchange({1, 2});
  exchange({1, 2});
  s.take_snapshot(0);
  EXPECT_EQ(s.core(0).snapshot().configuration.voters.size(), 2u);
  s.expire(0);
  s.deliver_all();
  EXPECT_EQ(s.restores(), 2u) << "the first snapshot, and the second for what was compacted away meanwhile";
  EXPECT_EQ(s.machine(3).read(0), 5u);
  EXPECT_EQ(s.core(3).configuration(), s.core(0).configuration());
  EXPECT_TRUE(s.change(0, Change::Kind::kPromote, 3));
  s.deliver_all();
  EXPECT_TRUE(s.core(3).configuration().voters.contains(s.id(3)));
}

// §3.5: a hint per term, so that a follower that went astray costs a message per term, not per entry.
TEST(RaftScenario, a_long_tail_of_one_term_is_passed_at_once) {
  RaftScript s(3, 3);
  s.elect(0, {1, 2});
  s.deliver_all();
  s.isolate(0);
  for (std::uint64_t i = 0; i < 40; ++i) s.propose(0, i);
  s.elect(1, {2});
  s.deliver_all();
  s.mend_all();
  unsigned refused = 0;
  s.expire(1);
  for (int i = 0; i < 10; ++i) {
    s.hand(1, 0);
    for (const raft::Message& m : s.in_flight()) {
      const auto* reply = std::get_if<raft::AppendReply>(&m.what);
      refused += reply != nullptr && m.from == s.id(0) && !reply->accepted && m.term == s.core(1).term();
    }
    s.hand(0, 1);
  }
  EXPECT_EQ(s.core(0).log().last(), s.core(1).log().last());
  EXPECT_LE(refused, 3u);
}

// A window bounds what is under way to a follower that does not answer.
TEST(RaftScenario, a_silent_follower_gets_no_more_than_its_window) {
  RaftClusterOptions o = RaftScript::options(3, 3, Mutant::kNone);
  o.core.window.window_messages = 4;
  RaftScript s(o);
  s.elect(0, {1, 2});
  s.deliver_all();
  s.in_flight().clear();
  for (std::uint64_t i = 0; i < 30; ++i) s.propose(0, i);
  std::size_t entries = 0;
  for (const raft::Message& m : s.in_flight()) {
    if (m.to == s.id(1)) entries += std::get<raft::Append>(m.what).entries.size();
  }
  EXPECT_EQ(entries, 4u);
  s.deliver_all();
  EXPECT_EQ(s.core(1).log().last(), s.core(0).log().last());
}

}  // namespace
}  // namespace gallocy::sim
