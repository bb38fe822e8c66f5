// Promises, message by message: leases, reads, votes; each also with the bug that it is the example of. § is Ongaro,
// "Consensus: bridging theory and practice", 2014.
#include <gtest/gtest.h>

#include "raft_script.h"

namespace gallocy::sim {
namespace {

using raft::Mutant;
using raft::Refusal;

constexpr std::uint64_t kElectionTimeoutUs = raft::Options{}.election_timeout_us;

// §6.4.1: when the followers' clocks have run an election timeout, the leader's lease is over, though its clock is
// slow.
bool reads_stale_by_lease(Mutant mutant) {
  RaftScript s(3, 3, mutant);
  s.elect(0, {1, 2});
  s.deliver_all();
  s.expire(0);
  s.deliver_all();
  EXPECT_TRUE(s.core(0).has_lease(s.clock(0)));
  // Both followers are as fast as they may be, the leader is as slow.
  const unsigned drift = raft::Options{}.clock_drift_permille;
  s.pass(0, kElectionTimeoutUs * (1000 - drift) / (1000 + drift));
  s.in_flight().clear();
  s.elect(1, {2});
  s.propose(1, 77);
  s.exchange(1, 2);
  EXPECT_EQ(s.machine(1).read(0), 77u);
  s.read(0);
  return !s.reads.empty();
}

TEST(RaftPromise, a_lease_ends_before_another_leader_can_be) {
  EXPECT_FALSE(reads_stale_by_lease(Mutant::kNone));
  EXPECT_TRUE(reads_stale_by_lease(Mutant::kLeaseTooLong));
}

// The lease counts from when the heartbeat was sent, however long the answer takes.
bool has_lease_after_a_late_answer(Mutant mutant) {
  RaftScript s(3, 3, mutant);
  s.elect(0, {1, 2});
  s.deliver_all();
  s.expire(0);
  s.hand(0, 1);
  s.hand(0, 2);
  s.pass(0, kElectionTimeoutUs - 1000);
  s.hand(1, 0);
  s.hand(2, 0);
  return s.core(0).has_lease(s.clock(0));
}

TEST(RaftPromise, a_lease_counts_from_the_question) {
  EXPECT_FALSE(has_lease_after_a_late_answer(Mutant::kNone));
  EXPECT_TRUE(has_lease_after_a_late_answer(Mutant::kLeaseFromReply));
}

// §3.10 with §6.4.1: TimeoutNow may arrive whenever it likes, and makes the voters forget what they promised.
bool trusts_lease_after_transfer(Mutant mutant) {
  RaftScript s(3, 3, mutant);
  s.elect(0, {1, 2});
  s.deliver_all();
  s.expire(0);
  s.deliver_all();
  EXPECT_TRUE(s.transfer(0, 1));
  s.pass(0, kElectionTimeoutUs - 1000);
  s.hand(0, 1);  // TimeoutNow
  s.exchange(1, 2);
  EXPECT_TRUE(s.leads(1));
  s.pass(0, 0);
  return s.leads(0) && s.core(0).has_lease(s.clock(0) - kElectionTimeoutUs + 1000);
}

TEST(RaftPromise, a_leader_that_sent_timeout_now_has_no_lease) {
  EXPECT_FALSE(trusts_lease_after_transfer(Mutant::kNone));
  EXPECT_TRUE(trusts_lease_after_transfer(Mutant::kLeaseAfterTransfer));
}

// What a follower promised is not on its disk: after a restart it waits that out before it votes.
bool votes_right_after_a_restart(Mutant mutant) {
  RaftClusterOptions o = RaftScript::options(3, 3, mutant);
  o.core.storage = raft::Storage::kDurable;
  RaftScript s(o);
  s.deliver_all();
  s.pass(1, 400'000);
  s.pass(2, 400'000);
  s.expire(0);
  s.deliver_all();
  EXPECT_TRUE(s.leads(0));
  s.expire(0);
  s.deliver_all();
  s.crash(1);
  s.restart(1);
  s.isolate(0);
  s.expire(2);
  s.deliver_all();
  return s.leads(2);
}

TEST(RaftPromise, a_restarted_server_keeps_what_it_promised_the_leader) {
  EXPECT_FALSE(votes_right_after_a_restart(Mutant::kNone));
  EXPECT_TRUE(votes_right_after_a_restart(Mutant::kNoQuietStart));
}

// §3.8: the vote is durable before anybody hears of it.
bool votes_twice_in_a_term(Mutant mutant) {
  RaftClusterOptions o = RaftScript::options(3, 3, mutant);
  o.core.storage = raft::Storage::kDurable;
  RaftScript s(o);
  const auto ask = [&](std::uint16_t candidate) {
    s.pass(2, 400'000);
    s.in_flight().push_back({s.id(candidate), s.id(2), raft::Term{5},
                             raft::VoteRequest{.last_index = LogIndex{9}, .last_term = raft::Term{4}}});
    s.cut(2, candidate);  // the answer is only looked at
    EXPECT_TRUE(s.deliver(candidate, 2));
  };
  const auto granted = [&] {
    bool any = false;
    for (const raft::Message& m : s.in_flight()) {
      const auto* reply = std::get_if<raft::VoteReply>(&m.what);
      any |= reply != nullptr && reply->granted && m.from == s.id(2);
    }
    return any;
  };
  ask(0);
  EXPECT_FALSE(granted()) << "before it is written";
  s.deliver_all();
  s.crash(2);
  s.restart(2);
  s.in_flight().clear();
  ask(1);
  while (s.end_write_of(2)) {
  }
  return granted();
}

TEST(RaftPromise, a_vote_outlives_a_restart) {
  EXPECT_FALSE(votes_twice_in_a_term(Mutant::kNone));
  EXPECT_TRUE(votes_twice_in_a_term(Mutant::kForgetVote));
  EXPECT_TRUE(votes_twice_in_a_term(Mutant::kVoteTwice));
}

// §6.4, step 1: a new leader does not know what is committed.
TEST(RaftPromise, a_read_of_a_new_leader_waits_for_its_first_entry) {
  RaftScript s(3, 3);
  s.elect(0, {1, 2});
  s.deliver_all();
  s.propose(0, 42);
  s.hand(0, 1);
  s.hand(1, 0);  // committed, which node 1 does not know yet
  EXPECT_TRUE(s.elect(1, {2}));
  s.read(1);
  EXPECT_TRUE(s.reads.empty());
  s.deliver_all();
  s.expire(1);
  s.deliver_all();
  ASSERT_EQ(s.reads.size(), 1u);
  EXPECT_GE(*s.reads[0].index, s.core(1).log().last());
  EXPECT_EQ(s.machine(1).read(0), 42u);
}

TEST(RaftPromise, a_read_of_a_deposed_leader_is_refused) {
  RaftClusterOptions o = RaftScript::options(3, 3, Mutant::kNone);
  o.core.reads = raft::ReadMode::kReadIndex;
  RaftScript s(o);
  s.elect(0, {1, 2});
  s.deliver_all();
  s.isolate(0);
  s.read(0);
  s.deliver_all();
  EXPECT_TRUE(s.reads.empty());
  s.mend_all();
  s.elect(1, {2});
  s.deliver_all();
  ASSERT_EQ(s.reads.size(), 1u);
  EXPECT_EQ(s.reads[0].index.error(), Refusal::kNotLeader);
}

}  // namespace
}  // namespace gallocy::sim
