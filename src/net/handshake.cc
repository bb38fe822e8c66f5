#include "net/handshake.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace gallocy::net {
namespace {

constexpr std::size_t kPrefixBytes = offsetof(Hello, answer);  // magic and version
constexpr const char* kBroken = "broke the protocol in the handshake";

std::string_view build_of(const Hello& hello) {
  const auto end = std::find(hello.build.begin(), hello.build.end(), '\0');
  return {hello.build.data(), static_cast<std::size_t>(end - hello.build.begin())};
}

const char* name_of(std::uint8_t links) { return links == static_cast<std::uint8_t>(LinkKind::kShm) ? "shm" : "tcp"; }

bool is_garbage(const Hello& hello) { return hello.magic != Hello{}.magic; }

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

}  // namespace

Handshake::Handshake(const Identity& identity, bool dials, NodeId peer, const Nonce& nonce, IsConnected is_connected)
    : identity_(identity), dials_(dials), is_connected_(std::move(is_connected)), peer_(peer) {
  CHECK(identity.build_id.size() <= kMaxBuildIdBytes, identity.build_id.size());
  mine_.links = static_cast<std::uint8_t>(identity.links);
  mine_.from = identity.self.value;
  mine_.to = peer.value;
  mine_.nodes = identity.nodes;
  std::copy(identity.build_id.begin(), identity.build_id.end(), mine_.build.begin());
  mine_.nonce = nonce;
  if (dials) put(mine_);
}

Handshake Handshake::dialer(const Identity& identity, NodeId peer, const Nonce& nonce) {
  return Handshake(identity, true, peer, nonce, nullptr);
}

Handshake Handshake::acceptor(const Identity& identity, const Nonce& nonce, IsConnected is_connected) {
  return Handshake(identity, false, kNoNode, nonce, std::move(is_connected));
}

std::size_t Handshake::wanted() const {
  switch (step_) {
    case Step::kPrefix:
      return kPrefixBytes;
    case Step::kHello:
      return sizeof(Hello) - kPrefixBytes;
    case Step::kProof:
      return sizeof(Mac);
    case Step::kVerdict:
      return sizeof(Verdict);
    case Step::kReady:
      return sizeof kReadyMessage;
    case Step::kOver:
      break;
  }
  return 0;
}

void Handshake::receive(std::span<const std::byte> bytes) {
  CHECK(state_ == State::kRunning && bytes.size() == wanted(), bytes.size(), wanted());
  switch (step_) {
    case Step::kPrefix:
      return take_prefix(bytes);
    case Step::kHello:
      return take_hello(bytes);
    case Step::kProof:
      return take_proof(bytes);
    case Step::kVerdict:
      return take_verdict(bytes);
    case Step::kReady:
      return take_ready(bytes);
    case Step::kOver:
      break;
  }
}

void Handshake::take_prefix(std::span<const std::byte> bytes) {
  std::memcpy(&theirs_, bytes.data(), bytes.size());
  if (is_garbage(theirs_)) {
    // 0x15 and 0x16 begin a TLS record (alert, handshake), whose next byte is 3.
    const bool is_tls = (theirs_.magic[0] == 0x15 || theirs_.magic[0] == 0x16) && theirs_.magic[1] == 3;
    return refuse(ErrorCode::kProtocol, is_tls
                                            ? "encrypts its connections and this node does not; use the same setting "
                                              "on all nodes"
                                            : "does not speak gallocy's protocol; is another program on that port?");
  }
  step_ = Step::kHello;
  if (theirs_.version == mine_.version) return;
  if (!dials_) {
    mine_.answer = Answer::kOtherVersion;
    put(mine_);
  }
  refuse(Answer::kOtherVersion);
}

void Handshake::take_hello(std::span<const std::byte> bytes) {
  std::memcpy(reinterpret_cast<std::byte*>(&theirs_) + kPrefixBytes, bytes.data(), bytes.size());
  const Answer answer = judge(theirs_);
  if (dials_) {
    if (theirs_.answer != Answer::kGoOn) return refuse(theirs_.answer);
    if (answer != Answer::kGoOn) return refuse(answer);
    peer_ = NodeId{theirs_.from};
    put(proof(true));
    step_ = Step::kVerdict;
    return;
  }
  mine_.answer = answer;
  mine_.to = theirs_.from;
  peer_ = NodeId{theirs_.from};
  put(mine_);
  if (answer != Answer::kGoOn) return refuse(answer);
  step_ = Step::kProof;
}

Answer Handshake::judge(const Hello& theirs) const {
  if (identity_.membership == Membership::kFixed && theirs.build != mine_.build) return Answer::kOtherBuild;
  if (theirs.links != mine_.links) return Answer::kOtherLinks;
  if (theirs.nodes != mine_.nodes) return Answer::kOtherSize;
  const bool visits = !dials_ && theirs.from == kNoNode.value;
  if (theirs.to != (visits ? kNoNode.value : mine_.from) || theirs.reserved != 0) return Answer::kWrongNode;
  if (!is_expected(theirs) || theirs.nonce == mine_.nonce) return Answer::kWrongNode;
  return Answer::kGoOn;
}

// The higher number dials the lower. A visitor calls for nobody in particular.
bool Handshake::is_expected(const Hello& theirs) const {
  if (dials_) return peer_ == kNoNode ? theirs.from < mine_.nodes : theirs.from == peer_.value;
  if (theirs.from == kNoNode.value) return identity_.membership == Membership::kOpen;
  return theirs.from > mine_.from && theirs.from < mine_.nodes;
}

std::string_view Handshake::peer_build() const { return build_of(theirs_); }

void Handshake::take_proof(std::span<const std::byte> bytes) {
  Verdict verdict;
  if (!equal_macs(bytes, proof(true))) {
    verdict.answer = Answer::kWrongSecret;
  } else if (peer_ != kNoNode && is_connected_ && is_connected_(peer_)) {
    verdict.answer = Answer::kConnected;
  } else {
    verdict.mac = proof(false);
  }
  put(verdict);
  if (verdict.answer != Answer::kGoOn) return refuse(verdict.answer);
  step_ = Step::kReady;
}

void Handshake::take_verdict(std::span<const std::byte> bytes) {
  Verdict verdict;
  std::memcpy(&verdict, bytes.data(), sizeof verdict);
  if (verdict.answer != Answer::kGoOn) return refuse(verdict.answer);
  if (verdict.reserved != Verdict{}.reserved) return refuse(ErrorCode::kProtocol, kBroken);
  if (!equal_macs(verdict.mac, proof(false))) return refuse(Answer::kWrongSecret);
  put(kReadyMessage);
  step_ = Step::kOver;
  state_ = State::kDone;
}

void Handshake::take_ready(std::span<const std::byte> bytes) {
  if (!std::ranges::equal(bytes, std::as_bytes(std::span(kReadyMessage)))) return refuse(ErrorCode::kProtocol, kBroken);
  step_ = Step::kOver;
  state_ = State::kDone;
}

void Handshake::refuse(ErrorCode code, std::string reason) {
  step_ = Step::kOver;
  state_ = State::kRefused;
  refusal_ = {code, std::move(reason)};
}

void Handshake::refuse(Answer answer) {
  switch (answer) {
    case Answer::kOtherVersion:
      return refuse(ErrorCode::kProtocol,
                    fmt::format("speaks version {} of the protocol and this program version {}; use the same program "
                                "on all nodes",
                                theirs_.version, mine_.version));
    case Answer::kOtherBuild:
      return refuse(ErrorCode::kProtocol, fmt::format("runs another build of the program ({:?} there, {:?} here); use "
                                                      "the same program on all nodes",
                                                      build_of(theirs_), build_of(mine_)));
    case Answer::kOtherSize:
      return refuse(ErrorCode::kProtocol,
                    fmt::format("is of a cluster of {} nodes and this is one of {}", theirs_.nodes, mine_.nodes));
    case Answer::kOtherLinks:
      return refuse(ErrorCode::kProtocol, fmt::format("uses {} and this node {}; use the same transport on all nodes",
                                                      name_of(theirs_.links), name_of(mine_.links)));
    case Answer::kWrongNode:
      return refuse(ErrorCode::kProtocol,
                    fmt::format("is node {} (and calls for node {}), which is not the one expected; are the addresses "
                                "of the nodes in the right order?",
                                theirs_.from, theirs_.to));
    case Answer::kWrongSecret:
      return refuse(ErrorCode::kNotPermitted, "does not have the same cluster secret");
    case Answer::kConnected:
      return refuse(ErrorCode::kExists, fmt::format("has a connection from node {} already; is a node id used twice?",
                                                    dials_ ? identity_.self : peer_));
    case Answer::kGoOn:
      break;
  }
  refuse(ErrorCode::kProtocol, kBroken);  // an answer that this version does not know
}

Mac Handshake::proof(bool of_dialer) const {
  constexpr std::string_view kDialer = "gallocy dialer ", kAcceptor = "gallocy acceptor ";
  const std::string_view label = of_dialer ? kDialer : kAcceptor;
  const Hello& dialer = dials_ ? mine_ : theirs_;
  const Hello& acceptor = dials_ ? theirs_ : mine_;
  return hmac_sha256(identity_.secret, {std::as_bytes(std::span(label)), bytes_of(dialer), bytes_of(acceptor)});
}

}  // namespace gallocy::net
