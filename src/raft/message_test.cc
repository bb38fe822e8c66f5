#include "raft/message.h"

#include <gtest/gtest.h>

#include "base/prng.h"

namespace gallocy::raft {
namespace {

const ServerId kA = server_id(NodeId{1}, 7), kB = server_id(NodeId{2}, 1);

std::shared_ptr<const Bytes> data(std::size_t size) { return std::make_shared<const Bytes>(size, std::byte{7}); }

std::vector<Message> one_of_each() {
  const Configuration configuration{.voters = {kA, kB}, .learners = {server_id(NodeId{3}, 9)}};
  const Entry change{Term{4}, EntryKind::kConfiguration, std::make_shared<const Bytes>(configuration.encode())};
  return {
      {kA, kB, Term{5}, VoteRequest{Ballot::kPreVote, false, LogIndex{9}, Term{4}}},
      {kA, kB, Term{5}, VoteRequest{Ballot::kVote, true, LogIndex{9}, Term{4}}},
      {kB, kA, Term{5}, VoteReply{Ballot::kPreVote, true, Term{6}}},
      {kA, kB, Term{5},
       Append{LogIndex{8},
              Term{3},
              LogIndex{7},
              11,
              12,
              {{Term{3}, EntryKind::kNormal, data(100)}, change, {Term{5}, EntryKind::kNoOp, nullptr}}}},
      {kB, kA, Term{5}, AppendReply{true, LogIndex{11}, LogIndex{}, Term{}, 11, 12}},
      {kA, kB, Term{5}, SnapshotChunk{LogIndex{6}, Term{3}, 1000, 600, 11, Bytes(400)}},
      {kB, kA, Term{5}, SnapshotReply{LogIndex{6}, 1000, 11}},
      {kA, kB, Term{5}, TimeoutNow{}},
  };
}

TEST(Message, comes_out_as_it_went_in) {
  for (const Message& message : one_of_each()) {
    const Bytes body = encode(message);
    const auto again = decode(type_of(message), body);
    ASSERT_TRUE(again.has_value()) << message.what.index();
    EXPECT_EQ(encode(*again), body);
    EXPECT_EQ(again->from, message.from);
    EXPECT_EQ(again->to, message.to);
    EXPECT_EQ(again->term, message.term);
    EXPECT_EQ(again->what.index(), message.what.index());
  }
}

TEST(Message, cut_short_or_too_long_is_none) {
  for (const Message& message : one_of_each()) {
    Bytes body = encode(message);
    for (std::size_t size = 0; size < body.size(); ++size) {
      // A shorter chunk is a chunk.
      if (std::holds_alternative<SnapshotChunk>(message.what) &&
          size > sizeof(wire::RaftHead) + sizeof(wire::RaftSnapshot))
        break;
      EXPECT_FALSE(decode(type_of(message), std::span(body).first(size)).has_value()) << message.what.index() << size;
    }
    body.insert(body.end(), 500, std::byte{0});
    EXPECT_FALSE(decode(type_of(message), body).has_value());
  }
}

TEST(Message, with_a_byte_changed_is_none_or_another) {
  Prng prng(1);
  for (const Message& message : one_of_each()) {
    for (int i = 0; i < 2000; ++i) {
      Bytes body = encode(message);
      body[prng.below(body.size())] = static_cast<std::byte>(prng());
      const auto other = decode(type_of(message), body);
      EXPECT_TRUE(!other || encode(*other) == body);
    }
  }
}

TEST(Message, an_entry_of_the_largest_size_fits_a_frame) {
  const Message message{kA, kB, Term{1},
                        Append{.entries = {{Term{1}, EntryKind::kNormal, data(wire::kMaxRaftEntryBytes)}}}};
  EXPECT_EQ(encode(message).size(), wire::kMaxBodyBytes);
}

TEST(Configuration, that_makes_no_sense_is_not_read) {
  const auto bad = [](const Configuration& c) { return !Configuration::decode(c.encode()).has_value(); };
  EXPECT_TRUE(bad({}));
  EXPECT_TRUE(bad({.voters = {}, .learners = {kA}}));
  EXPECT_TRUE(bad({.voters = {kA}, .learners = {kA}}));
  Configuration many;
  for (std::uint16_t i = 0; i <= kMaxVoters; ++i) many.voters.insert(server_id(NodeId{i}, 1));
  EXPECT_TRUE(bad(many));
}

// §4.1: one server at a time.
TEST(Configuration, changes_by_one_server) {
  using Kind = Change::Kind;
  const ServerId c = server_id(NodeId{3}, 1);
  const Configuration start{.voters = {kA, kB}};
  EXPECT_FALSE(changed(start, {Kind::kPromote, c}));
  EXPECT_FALSE(changed(start, {Kind::kRemove, c}));
  EXPECT_FALSE(changed(start, {Kind::kAddLearner, kA}));
  const auto with = changed(start, {Kind::kAddLearner, c});
  EXPECT_EQ(with->learners, std::set{c});
  EXPECT_EQ(with->quorum(), 2u);
  const auto three = changed(*with, {Kind::kPromote, c});
  EXPECT_EQ(three->voters.size(), 3u);
  EXPECT_EQ(changed(*three, {Kind::kDemote, kA})->learners, std::set{kA});
  EXPECT_FALSE(changed({.voters = {kA}}, {Kind::kRemove, kA}));
}

}  // namespace
}  // namespace gallocy::raft
