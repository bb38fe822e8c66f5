#include "net/rendezvous_frames.h"

#include <gmock/gmock.h>

#include "base/prng.h"

namespace gallocy::net::rendezvous {
namespace {

using testing::HasSubstr;

constexpr std::string_view kSecret = "a secret of this test";

wire::Bytes bytes(std::string_view text) {
  const auto span = std::as_bytes(std::span(text));
  return {span.begin(), span.end()};
}

struct Pair {
  SealedStream node{Side::kNode}, launcher{Side::kLauncher};
  Pair() {
    const Hello hello{.nonce = random_nonce()};
    const auto challenge = random_nonce();
    node.seal(kSecret, hello, challenge);
    launcher.seal(kSecret, hello, challenge);
  }
};

TEST(SealedStream, delivers_frames_in_any_cut) {
  Pair pair;
  wire::Bytes sent;
  pair.node.encode(FrameType::kStatistics, bytes("{\"a\": 1}"), sent);
  pair.node.encode(FrameType::kFinished, {}, sent);
  for (const auto byte : sent) pair.launcher.feed({&byte, 1});

  auto first = pair.launcher.next();
  ASSERT_TRUE(first && *first);
  EXPECT_EQ((*first)->type, FrameType::kStatistics);
  EXPECT_EQ((*first)->body, bytes("{\"a\": 1}"));
  auto second = pair.launcher.next();
  ASSERT_TRUE(second && *second);
  EXPECT_EQ((*second)->type, FrameType::kFinished);
  auto third = pair.launcher.next();
  ASSERT_TRUE(third);
  EXPECT_FALSE(*third);
}

TEST(SealedStream, every_changed_bit_is_noticed) {
  for (std::size_t bit = 0;; ++bit) {
    Pair pair;
    wire::Bytes sent;
    pair.node.encode(FrameType::kPeerLost, encode_loss({NodeId{3}, "why"}), sent);
    if (bit == sent.size() * 8) break;
    sent[bit / 8] ^= std::byte{1} << (bit % 8);
    pair.launcher.feed(sent);
    const auto frame = pair.launcher.next();
    // A longer length keeps it waiting; nothing is ever accepted.
    EXPECT_FALSE(frame && *frame) << "bit " << bit;
  }
}

TEST(SealedStream, repeated_and_reflected_frames_are_refused) {
  Pair pair;
  wire::Bytes sent;
  pair.node.encode(FrameType::kFinished, {}, sent);
  pair.launcher.feed(sent);
  ASSERT_TRUE(pair.launcher.next());
  pair.launcher.feed(sent);
  EXPECT_FALSE(pair.launcher.next());

  Pair other;
  sent.clear();
  other.node.encode(FrameType::kFinished, {}, sent);
  other.node.feed(sent);
  EXPECT_FALSE(other.node.next());
}

TEST(SealedStream, strangers_may_send_only_little) {
  SealedStream stream(Side::kLauncher);
  wire::Bytes sent;
  SealedStream(Side::kNode).encode(FrameType::kHello, wire::Bytes(kMaxStrangerBodyBytes + 1), sent);
  stream.feed(std::span(sent).first(kHeaderBytes));
  EXPECT_FALSE(stream.next());
}

TEST(SealedStream, garbage_never_becomes_a_frame) {
  Prng random(7);
  for (int round = 0; round < 2000; ++round) {
    Pair pair;
    wire::Bytes garbage(random.below(200));
    for (auto& byte : garbage) byte = static_cast<std::byte>(random());
    pair.launcher.feed(garbage);
    const auto frame = pair.launcher.next();
    EXPECT_FALSE(frame && *frame);
  }
}

TEST(Proof, depends_on_everything) {
  const Hello hello{.node = 1, .nodes = 2, .nonce = random_nonce()};
  Hello other = hello;
  other.node = 0;
  const auto challenge = random_nonce();
  const auto proof = prove(kSecret, Side::kNode, hello, challenge);
  EXPECT_EQ(proof, prove(kSecret, Side::kNode, hello, challenge));
  EXPECT_NE(proof, prove("another secret here", Side::kNode, hello, challenge));
  EXPECT_NE(proof, prove(kSecret, Side::kLauncher, hello, challenge));
  EXPECT_NE(proof, prove(kSecret, Side::kNode, other, challenge));
  EXPECT_NE(proof, prove(kSecret, Side::kNode, hello, random_nonce()));
}

TEST(Bodies, come_back_as_they_were) {
  const auto addresses = decode_addresses(encode_addresses({{"10.0.0.1", 80}, {"::1", 65535}, {"", 0}}));
  ASSERT_TRUE(addresses);
  ASSERT_EQ(addresses->size(), 3u);
  EXPECT_EQ((*addresses)[1].host, "::1");
  EXPECT_EQ((*addresses)[1].port, 65535);

  const auto nodes = decode_nodes(encode_nodes({NodeId{0}, NodeId{999}}));
  ASSERT_TRUE(nodes);
  EXPECT_EQ(*nodes, (std::vector{NodeId{0}, NodeId{999}}));

  const auto loss = decode_loss(encode_loss({NodeId{7}, "silent for 2 s"}));
  ASSERT_TRUE(loss);
  EXPECT_EQ(loss->peer, NodeId{7});
  EXPECT_EQ(loss->reason, "silent for 2 s");
}

TEST(Bodies, cut_ones_are_refused) {
  const auto whole = encode_addresses({{"10.0.0.1", 80}, {"b", 2}});
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_FALSE(decode_addresses(std::span(whole).first(length))) << length;
  }
  auto longer = whole;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(decode_addresses(longer));
  EXPECT_FALSE(decode_nodes(wire::Bytes(3)));
}

TEST(NameNodes, reads_as_a_sentence) {
  EXPECT_EQ(name_nodes({NodeId{3}}), "node 3");
  EXPECT_EQ(name_nodes({NodeId{1}, NodeId{2}}), "nodes 1 and 2");
  EXPECT_EQ(name_nodes({NodeId{1}, NodeId{2}, NodeId{5}}), "nodes 1, 2 and 5");
  std::vector<NodeId> many;
  for (std::uint16_t i = 0; i < 100; ++i) many.push_back(NodeId{i});
  EXPECT_THAT(name_nodes(many), HasSubstr("and 92 more"));
}

}  // namespace
}  // namespace gallocy::net::rendezvous
