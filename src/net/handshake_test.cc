#include "net/handshake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/decoder_drive.h"

namespace gallocy::net {
namespace {

using testing::HandshakePair;
using ::testing::HasSubstr;
using State = Handshake::State;

// Carries what one side says to the other until neither says anything more.
void converse(Handshake& a, Handshake& b, std::string& a_says, std::string& b_says) {
  const auto feed = [](Handshake& to, std::string& text) {
    const std::size_t wanted = to.wanted();
    if (wanted == 0 || text.size() < wanted) return false;
    to.receive(std::as_bytes(std::span(text).first(wanted)));
    text.erase(0, wanted);
    return true;
  };
  do {
    a_says += a.take_output();
    b_says += b.take_output();
  } while (feed(b, a_says) || feed(a, b_says));
}

struct Outcome {
  State dialer, acceptor;
  Error dialer_error, acceptor_error;
};

Outcome meet(const Handshake::Identity& dialer_identity, NodeId dialed, const Handshake::Identity& acceptor_identity,
             Handshake::IsConnected is_connected = nullptr) {
  auto dialer = Handshake::dialer(dialer_identity, dialed, random_nonce());
  auto acceptor = Handshake::acceptor(acceptor_identity, random_nonce(), std::move(is_connected));
  std::string up, down;
  converse(dialer, acceptor, up, down);
  return {dialer.state(), acceptor.state(), dialer.refusal(), acceptor.refusal()};
}

TEST(HandshakeTest, nodes_with_the_same_secret_and_program_meet) {
  const HandshakePair pair;
  auto dialer = Handshake::dialer(pair.dialer_identity, NodeId{0}, random_nonce());
  auto acceptor = Handshake::acceptor(pair.acceptor_identity, random_nonce(), nullptr);
  std::string up, down;
  converse(dialer, acceptor, up, down);
  EXPECT_EQ(dialer.state(), State::kDone);
  EXPECT_EQ(acceptor.state(), State::kDone);
  EXPECT_EQ(acceptor.peer(), NodeId{1});
  EXPECT_EQ(dialer.peer(), NodeId{0});
  EXPECT_TRUE(up.empty() && down.empty());
}

TEST(HandshakeTest, another_secret_is_refused_by_both) {
  HandshakePair pair;
  pair.dialer_identity.secret = "the secret of another cluster";
  const Outcome outcome = meet(pair.dialer_identity, NodeId{0}, pair.acceptor_identity);
  EXPECT_EQ(outcome.dialer, State::kRefused);
  EXPECT_EQ(outcome.acceptor, State::kRefused);
  EXPECT_EQ(outcome.dialer_error.code, ErrorCode::kNotPermitted);
  EXPECT_EQ(outcome.acceptor_error.code, ErrorCode::kNotPermitted);
}

TEST(HandshakeTest, another_build_is_named) {
  HandshakePair pair;
  pair.dialer_identity.build_id = "newer build";
  const Outcome outcome = meet(pair.dialer_identity, NodeId{0}, pair.acceptor_identity);
  EXPECT_EQ(outcome.dialer_error.code, ErrorCode::kProtocol);
  EXPECT_THAT(outcome.dialer_error.message,
              HasSubstr("another build of the program (\"build\" there, \"newer build\" here)"));
  EXPECT_THAT(outcome.acceptor_error.message, HasSubstr("\"newer build\" there"));
}

TEST(HandshakeTest, another_version_is_named_whatever_follows_it) {
  const HandshakePair pair;
  auto acceptor = Handshake::acceptor(pair.acceptor_identity, random_nonce(), nullptr);
  Hello hello;
  hello.version = wire::kProtocolVersion + 1;
  acceptor.receive(std::as_bytes(std::span(&hello, 1)).first(acceptor.wanted()));
  EXPECT_EQ(acceptor.state(), State::kRefused);
  EXPECT_THAT(acceptor.refusal().message, HasSubstr(fmt::format("speaks version {}", wire::kProtocolVersion + 1)));
  // The dialer is told this node's version, so that it can name both.
  EXPECT_EQ(acceptor.take_output().size(), sizeof(Hello));

  auto dialer = Handshake::dialer(pair.dialer_identity, NodeId{0}, random_nonce());
  dialer.receive(std::as_bytes(std::span(&hello, 1)).first(dialer.wanted()));
  EXPECT_EQ(dialer.refusal().code, ErrorCode::kProtocol);
}

TEST(HandshakeTest, garbage_gets_no_answer) {
  const HandshakePair pair;
  auto acceptor = Handshake::acceptor(pair.acceptor_identity, random_nonce(), nullptr);
  const std::string_view request = "GET / HTTP/1.1\r\n";
  acceptor.receive(std::as_bytes(std::span(request)).first(acceptor.wanted()));
  EXPECT_EQ(acceptor.refusal().code, ErrorCode::kProtocol);
  EXPECT_EQ(acceptor.take_output(), "");
}

TEST(HandshakeTest, other_sizes_links_and_node_ids_are_refused) {
  HandshakePair pair;
  pair.dialer_identity.nodes = 4;
  EXPECT_THAT(meet(pair.dialer_identity, NodeId{0}, pair.acceptor_identity).dialer_error.message,
              HasSubstr("is of a cluster of 3 nodes and this is one of 4"));
  pair.dialer_identity = HandshakePair::identity(1);
  pair.dialer_identity.links = LinkKind::kShm;
  EXPECT_THAT(meet(pair.dialer_identity, NodeId{0}, pair.acceptor_identity).dialer_error.message,
              HasSubstr("uses tcp and this node shm"));
  // Node 2 dials node 1 and meets node 0.
  EXPECT_THAT(meet(HandshakePair::identity(2), NodeId{1}, pair.acceptor_identity).dialer_error.message,
              HasSubstr("is node 0"));
  // The lower id does not dial the higher; nobody dials himself; no id lies outside the cluster.
  for (const std::uint16_t id : {0, 1, 3})
    EXPECT_EQ(meet(HandshakePair::identity(id), NodeId{1}, HandshakePair::identity(1)).acceptor, State::kRefused) << id;
}

TEST(HandshakeTest, a_second_connection_of_a_node_is_refused_but_only_after_its_proof) {
  HandshakePair pair;
  int asked = 0;
  const auto connected = [&](NodeId id) { return ++asked > 0 && id == NodeId{1}; };
  EXPECT_EQ(meet(pair.dialer_identity, NodeId{0}, pair.acceptor_identity, connected).dialer_error.code,
            ErrorCode::kExists);
  EXPECT_EQ(asked, 1);
  pair.dialer_identity.secret = "the secret of another cluster";
  EXPECT_EQ(meet(pair.dialer_identity, NodeId{0}, pair.acceptor_identity, connected).dialer_error.code,
            ErrorCode::kNotPermitted);
  EXPECT_EQ(asked, 1);
}

TEST(HandshakeTest, a_stranger_that_says_everything_back_is_refused) {
  const HandshakePair pair;
  auto dialer = Handshake::dialer(pair.dialer_identity, NodeId{0}, random_nonce());
  const std::string echo = dialer.take_output();
  while (dialer.state() == State::kRunning) {
    const std::size_t at = dialer.wanted() == echo.size() ? 0 : echo.size() - dialer.wanted();
    dialer.receive(std::as_bytes(std::span(echo)).subspan(dialer.wanted() < 20 ? 0 : at, dialer.wanted()));
  }
  EXPECT_EQ(dialer.state(), State::kRefused);
}

TEST(HandshakeTest, the_acceptors_proof_does_not_serve_as_a_dialers) {
  const HandshakePair pair;
  // The stranger plays node 1 towards node 0 and sends, as its proof, what an acceptor would: made with the right
  // secret over the same hellos, but under the other label.
  auto acceptor = Handshake::acceptor(pair.acceptor_identity, HandshakePair::nonce(2), nullptr);
  auto dialer = Handshake::dialer(pair.dialer_identity, NodeId{0}, HandshakePair::nonce(1));
  auto twin = Handshake::acceptor(pair.acceptor_identity, HandshakePair::nonce(2), nullptr);
  std::string hello = dialer.take_output(), up = hello, down, verdict;
  converse(dialer, twin, up, down);
  for (std::size_t at = 0; acceptor.take_output().empty();) {
    const std::size_t wanted = acceptor.wanted();
    acceptor.receive(std::as_bytes(std::span(hello)).subspan(at, wanted));
    at += wanted;
  }
  constexpr std::string_view kLabel = "gallocy acceptor ";
  Hello theirs;  // as the acceptor sent it
  theirs.from = 0, theirs.to = 1, theirs.nodes = 3;
  std::copy_n("build", 5, theirs.build.begin());
  theirs.nonce = HandshakePair::nonce(2);
  const Mac reflected = hmac_sha256(
      HandshakePair::kSecret,
      {std::as_bytes(std::span(kLabel)), std::as_bytes(std::span(hello)), std::as_bytes(std::span(&theirs, 1))});
  acceptor.receive(reflected);
  EXPECT_EQ(acceptor.refusal().code, ErrorCode::kNotPermitted);
}

}  // namespace
}  // namespace gallocy::net
