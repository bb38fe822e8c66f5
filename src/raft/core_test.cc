// One server and what it says; companies of servers are in tests/sim/raft_*. § is Ongaro, "Consensus: bridging theory
// and practice", 2014.
#include "raft/core.h"

#include <gtest/gtest.h>

namespace gallocy::raft {
namespace {

const ServerId kA = server_id(NodeId{0}, 1), kB = server_id(NodeId{1}, 1), kC = server_id(NodeId{2}, 1);
const Configuration kThree{.voters = {kA, kB, kC}};
constexpr std::uint64_t kLate = 10'000'000;

Core make(Storage storage, const Configuration& founders = kThree) {
  return Core({.self = kA, .storage = storage}, PersistentState::founding(founders), 1, 0);
}

// What it says after a turn; writes are not reported as done.
Effects turn(Core& core, std::uint64_t now = kLate) {
  core.flush(now);
  core.check_invariants();
  return core.take_effects();
}

template <typename What>
std::vector<What> said(const Effects& effects) {
  std::vector<What> result;
  for (const Message& m : effects.messages) {
    if (const auto* what = std::get_if<What>(&m.what)) result.push_back(*what);
  }
  return result;
}

void lead(Core& core) {
  core.tick(kLate);
  for (const Ballot ballot : {Ballot::kPreVote, Ballot::kVote}) {
    for (int i = 0; i < 2; ++i) {
      if (const auto persist = turn(core).persist) core.persisted(persist->sequence, kLate);
    }
    EXPECT_TRUE(core.message({kB, kA, core.term(), VoteReply{ballot, true, Term{2}}}, kLate));
  }
  EXPECT_EQ(core.role(), Role::kLeader);
}

TEST(RaftCore, who_was_elected_by_the_founding_leads_if_no_other_term_has_begun) {
  const auto founded = [] { return Core({.self = kA}, PersistentState::founding(kThree, kA), 1, 0); };
  Core prompt = founded();
  EXPECT_TRUE(prompt.message({kB, kA, Term{1}, VoteRequest{.ballot = Ballot::kPreVote}}, kLate));
  prompt.take_office(kLate);
  EXPECT_EQ(prompt.role(), Role::kLeader);
  Core late = founded();
  EXPECT_TRUE(late.message({kB, kA, Term{2}, VoteRequest{.last_index = LogIndex{1}, .last_term = Term{1}}}, kLate));
  late.take_office(kLate);
  EXPECT_EQ(late.role(), Role::kFollower);
  EXPECT_EQ(late.term(), Term{2});
}

TEST(RaftCore, a_message_that_only_tells_of_a_commit_is_answered_once_in_a_round) {
  Core core = make(Storage::kVolatile);
  const auto told = [&](std::uint64_t round, LogIndex commit, std::vector<Entry> entries = {}) {
    const LogIndex prev = core.log().last();
    EXPECT_TRUE(core.message(
        {kB, kA, Term{2}, Append{prev, core.log().last_term(), commit, round, 1, std::move(entries)}}, kLate));
    return said<AppendReply>(turn(core)).size();
  };
  EXPECT_EQ(told(1, LogIndex{1}), 1u);
  EXPECT_EQ(told(1, LogIndex{1}, {{Term{2}, EntryKind::kNoOp, nullptr}}), 1u);
  EXPECT_EQ(told(1, LogIndex{2}), 0u);
  EXPECT_EQ(core.commit(), LogIndex{2});
  EXPECT_EQ(told(2, LogIndex{2}), 1u);
}

// §9.6
TEST(RaftCore, asks_before_it_raises_its_term) {
  Core core = make(Storage::kVolatile);
  core.tick(kLate);
  const auto requests = said<VoteRequest>(turn(core));
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].ballot, Ballot::kPreVote);
  EXPECT_EQ(core.term(), Term{1});
  EXPECT_EQ(core.role(), Role::kPreCandidate);
}

// §3.8: the term and the vote for itself are written before anybody is asked.
TEST(RaftCore, a_candidate_asks_when_its_vote_is_durable) {
  Core core = make(Storage::kDurable);
  core.tick(kLate);
  EXPECT_EQ(said<VoteRequest>(turn(core)).size(), 2u) << "a pre-vote changes nothing";
  EXPECT_TRUE(core.message({kB, kA, Term{1}, VoteReply{Ballot::kPreVote, true, Term{2}}}, kLate));
  const Effects effects = turn(core);
  EXPECT_TRUE(said<VoteRequest>(effects).empty());
  ASSERT_TRUE(effects.persist.has_value());
  EXPECT_EQ(effects.persist->term, Term{2});
  EXPECT_EQ(effects.persist->vote, kA);
  core.persisted(effects.persist->sequence, kLate);
  EXPECT_EQ(said<VoteRequest>(turn(core)).size(), 2u);
}

TEST(RaftCore, entries_are_acknowledged_when_they_are_durable) {
  Core core = make(Storage::kDurable);
  const Append append{.prev = LogIndex{1}, .prev_term = Term{1}, .entries = {{Term{2}, EntryKind::kNoOp, nullptr}}};
  EXPECT_TRUE(core.message({kB, kA, Term{2}, append}, kLate));
  const Effects effects = turn(core);
  EXPECT_TRUE(said<AppendReply>(effects).empty());
  ASSERT_TRUE(effects.persist.has_value());
  EXPECT_EQ(effects.persist->first, LogIndex{2});
  EXPECT_EQ(effects.persist->entries.size(), 1u);
  core.persisted(effects.persist->sequence, kLate);
  const auto replies = said<AppendReply>(turn(core));
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_TRUE(replies[0].accepted);
  EXPECT_EQ(replies[0].index, LogIndex{2});
}

// §10.2.1: the leader writes while its followers do; its own copy counts when it is written, and is not needed.
TEST(RaftCore, a_leader_commits_what_a_majority_wrote_itself_included_or_not) {
  for (const bool own_disk_first : {true, false}) {
    Core core = make(Storage::kDurable);
    lead(core);
    const Effects effects = turn(core);
    EXPECT_FALSE(said<Append>(effects).empty()) << "it does not wait for its own disk";
    const auto accept = [&](ServerId from) {
      EXPECT_TRUE(core.message({from, kA, Term{2}, AppendReply{.accepted = true, .index = LogIndex{2}}}, kLate));
    };
    accept(kB);
    EXPECT_TRUE(turn(core).committed.empty());
    own_disk_first ? core.persisted(effects.persist->sequence, kLate) : accept(kC);
    EXPECT_EQ(turn(core).committed.size(), 2u);
  }
}

TEST(RaftCore, a_company_of_one_needs_nobody) {
  Core core = make(Storage::kVolatile, {.voters = {kA}});
  core.tick(kLate);
  EXPECT_EQ(core.role(), Role::kLeader);
  ASSERT_TRUE(core.propose(Bytes(3)).has_value());
  EXPECT_EQ(turn(core).committed.size(), 3u);
  core.read(Ticket{5}, kLate);
  const auto reads = turn(core).reads;
  ASSERT_EQ(reads.size(), 1u);
  EXPECT_EQ(*reads[0].index, LogIndex{3});
}

TEST(RaftCore, a_server_without_a_log_waits_to_be_taken_in) {
  Core core({.self = kC}, {}, 1, 0);
  core.tick(kLate);
  EXPECT_EQ(core.role(), Role::kFollower);
  EXPECT_TRUE(turn(core).messages.empty());
}

TEST(RaftCore, messages_for_another_life_of_the_node_are_not_for_it) {
  Core core = make(Storage::kVolatile);
  const ServerId former = server_id(NodeId{0}, 77);
  EXPECT_TRUE(core.message({kB, former, Term{9}, VoteRequest{.last_index = LogIndex{9}, .last_term = Term{8}}}, kLate));
  EXPECT_EQ(core.term(), Term{1});
  EXPECT_TRUE(turn(core).messages.empty());
}

TEST(RaftCore, refuses_what_it_cannot_take) {
  Core core({.self = kA, .max_open_entries = 3}, PersistentState::founding(kThree), 1, 0);
  EXPECT_EQ(core.propose({}).error(), Refusal::kNotLeader);
  lead(core);
  EXPECT_EQ(core.propose(Bytes(wire::kMaxRaftEntryBytes + 1)).error(), Refusal::kTooLarge);
  EXPECT_TRUE(core.propose(Bytes(wire::kMaxRaftEntryBytes)));
  EXPECT_EQ(core.propose({}).error(), Refusal::kTooManyOpen);
  EXPECT_EQ(core.change({Change::Kind::kRemove, kB}, kLate).error(), Refusal::kTermNotBegun);
  EXPECT_EQ(core.transfer(kA, kLate).error(), Refusal::kNoSuchChange);
}

TEST(RaftCore, a_second_leader_in_a_term_breaks_the_protocol) {
  Core core = make(Storage::kVolatile);
  EXPECT_TRUE(core.message({kB, kA, Term{2}, Append{}}, kLate));
  EXPECT_FALSE(core.message({kC, kA, Term{2}, Append{}}, kLate));
}

TEST(RaftCore, a_leader_that_contradicts_what_is_committed_breaks_the_protocol) {
  Core core = make(Storage::kVolatile);
  const auto append = [&](Term term, Term entry_term) {
    return Message{kB, kA, term,
                   Append{.prev = LogIndex{1},
                          .prev_term = Term{1},
                          .commit = LogIndex{2},
                          .entries = {{entry_term, EntryKind::kNoOp, nullptr}}}};
  };
  EXPECT_TRUE(core.message(append(Term{2}, Term{2}), kLate));
  EXPECT_EQ(core.commit(), LogIndex{2});
  EXPECT_FALSE(core.message(append(Term{3}, Term{3}), kLate));
  EXPECT_EQ(core.log().term_at(LogIndex{2}), Term{2});
}

// §5.1
TEST(RaftCore, starts_again_from_its_snapshot_and_the_entries_after_it) {
  PersistentState state;
  state.term = Term{7};
  state.snapshot = {LogIndex{10}, Term{6}, kThree, std::make_shared<const Bytes>(Bytes(5))};
  state.entries = {{Term{6}, EntryKind::kNoOp, nullptr}, {Term{7}, EntryKind::kNoOp, nullptr}};
  Core core({.self = kA, .storage = Storage::kDurable}, state, 1, 0);
  const Effects effects = turn(core, 0);
  ASSERT_TRUE(effects.restore.has_value());
  EXPECT_EQ(effects.restore->index, LogIndex{10});
  EXPECT_EQ(core.commit(), LogIndex{10});
  EXPECT_EQ(core.log().last(), LogIndex{12});
  EXPECT_EQ(core.configuration(), kThree);
  EXPECT_FALSE(effects.persist.has_value());
}

Message random_message(Prng& prng) {
  const auto index = [&] { return LogIndex{prng.below(8)}; };
  const auto term = [&] { return Term{prng.below(6)}; };
  Message m{prng.one_in(2) ? kB : kC, kA, Term{1 + prng.below(6)}, TimeoutNow{}};
  const std::uint64_t round = prng.below(4), number = prng.below(20);
  switch (prng.below(7)) {
    case 0:
      m.what = VoteRequest{prng.one_in(2) ? Ballot::kVote : Ballot::kPreVote, prng.one_in(4), index(), term()};
      break;
    case 1:
      m.what = VoteReply{prng.one_in(2) ? Ballot::kVote : Ballot::kPreVote, !prng.one_in(3), term()};
      break;
    case 2: {
      Append append{index(), term(), index(), round, number, {}};
      for (std::uint64_t i = prng.below(4); i > 0; --i) append.entries.push_back({term(), EntryKind::kNormal, nullptr});
      m.what = std::move(append);
      break;
    }
    case 3:
      m.what = AppendReply{prng.one_in(2), index(), index(), term(), round, number};
      break;
    case 4: {
      const Bytes configuration = kThree.encode();
      m.what = SnapshotChunk{index(), term(), configuration.size(), 0, round, configuration};
      break;
    }
    case 5:
      m.what = SnapshotReply{index(), prng.below(40), round};
      break;
    default:
      break;
  }
  return m;
}

// Whatever comes, the server neither stops nor loses what is committed.
TEST(RaftCore, bears_messages_that_make_no_sense) {
  for (std::uint64_t seed = 1; seed <= 3000; ++seed) {
    Prng prng(seed);
    Core core = make(seed % 2 == 0 ? Storage::kVolatile : Storage::kDurable);
    std::uint64_t now = kLate;
    for (int i = 0; i < 60; ++i) {
      const LogIndex commit = core.commit();
      const Term term = core.term();
      if (prng.one_in(8)) core.tick(now += 400'000);
      (void)core.message(random_message(prng), now);
      if (prng.one_in(4)) (void)core.propose(Bytes(3));
      const Effects effects = turn(core, now);
      if (effects.persist) core.persisted(effects.persist->sequence, now);
      EXPECT_GE(core.commit(), commit);
      EXPECT_GE(core.term(), term);
    }
  }
}

}  // namespace
}  // namespace gallocy::raft
