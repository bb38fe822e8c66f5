// The handshake of two nodes: who are you, do we run the same program, do you know the cluster secret. No sockets:
// bytes in, bytes out; the Connector moves them.
//
//   dialer    Hello    magic, version, who dials whom, cluster size, link kind, build, nonce
//   acceptor  Hello    the same of its own, and whether it goes on
//   dialer    Proof    HMAC-SHA-256(secret, "gallocy dialer" | both Hellos)
//   acceptor  Verdict  whether it goes on, HMAC-SHA-256(secret, "gallocy acceptor" | both Hellos)
//   dialer    Ready
//
// The dialer is a peer, which has a number, or a visitor, which has none and only asks one thing (net/visit.h). Members
// of an open cluster (mesh.h) may run different programs, and take visitors.
//
// 1. Each side proves that it knows the secret for a nonce of the other, and for both ids: a recorded proof is
// worthless,
//    and because of the labels nobody can be made to answer its own challenge.
// 2. The dialer proves first, and nothing but one Hello leaves to a peer that has not; to one that does not begin with
//    the magic, nothing at all.
// 3. magic and version keep their places in all versions, and are judged as soon as they are here, so that another
//    version is named and garbage is refused without waiting for more.
// 4. Exactly the bytes of the handshake are read, so that what follows belongs to the link.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"
#include "net/hmac.h"
#include "net/mesh.h"
#include "wire/frame.h"

namespace gallocy::net {

inline constexpr std::size_t kMaxBuildIdBytes = 64;

// Of a Hello or Verdict.
enum class Answer : std::uint8_t {
  kGoOn,
  kOtherVersion,
  kOtherBuild,
  kOtherSize,
  kOtherLinks,
  kWrongNode,  // the dialer wanted another node than this one, or says it is one that should not dial it
  kWrongSecret,
  kConnected,  // that node has a connection already
  kLast = kConnected,
};

struct Hello {
  std::array<char, 8> magic{'g', 'a', 'l', 'l', 'o', 'c', 'y', '\n'};
  std::uint16_t version = wire::kProtocolVersion;
  Answer answer = Answer::kGoOn;
  std::uint8_t links = 0;  // LinkKind
  std::uint16_t from = 0;  // node ids; kNoNode: a visitor
  std::uint16_t to = 0;
  std::uint16_t nodes = 0;
  std::uint16_t reserved = 0;
  std::array<char, kMaxBuildIdBytes> build{};  // zero-padded
  Nonce nonce{};
};
static_assert(sizeof(Hello) == 116);

struct Verdict {
  Answer answer = Answer::kGoOn;
  std::array<std::uint8_t, 3> reserved{};
  Mac mac{};
};
static_assert(sizeof(Verdict) == 36);

inline constexpr std::array<char, 4> kReadyMessage{'g', 'o', 'o', 'n'};

class Handshake {
 public:
  struct Identity {
    NodeId self{};
    std::uint16_t nodes = 0;
    LinkKind links = LinkKind::kTcp;
    Membership membership = Membership::kFixed;
    std::string_view secret;
    std::string_view build_id;
  };
  using IsConnected = std::function<bool(NodeId)>;

  // The constructor of the dialer fills output(). `identity` must outlive the handshake.
  static Handshake dialer(const Identity& identity, NodeId peer, const Nonce& nonce);
  // is_connected: whether there is a link to that node already; asked when its proof was right.
  static Handshake acceptor(const Identity& identity, const Nonce& nonce, IsConnected is_connected);

  enum class State : std::uint8_t { kRunning, kDone, kRefused };
  State state() const { return state_; }

  // How many bytes the next step needs, 0 when it is over; receive() takes exactly that many.
  std::size_t wanted() const;
  void receive(std::span<const std::byte> bytes);
  // What to send, also when it ended in refusal; taken by the call.
  std::string take_output() { return std::exchange(output_, {}); }
  // The messages around which the descriptors of a shared-memory link are passed.
  bool proof_is_next() const { return step_ == Step::kProof; }
  bool verdict_is_next() const { return step_ == Step::kVerdict; }
  bool ready_is_next() const { return step_ == Step::kReady; }

  // Known once the peer's Hello was taken; only claimed until kDone. kNoNode: a visitor.
  NodeId peer() const { return peer_; }
  std::string_view peer_build() const;
  // When refused: the reason in words that fit "node 3 at host:port …" (dialer) or stand alone (acceptor).
  const Error& refusal() const { return refusal_; }

 private:
  enum class Step : std::uint8_t { kPrefix, kHello, kProof, kVerdict, kReady, kOver };

  Handshake(const Identity& identity, bool dials, NodeId peer, const Nonce& nonce, IsConnected is_connected);
  void take_prefix(std::span<const std::byte> bytes);
  void take_hello(std::span<const std::byte> bytes);
  void take_proof(std::span<const std::byte> bytes);
  void take_verdict(std::span<const std::byte> bytes);
  void take_ready(std::span<const std::byte> bytes);
  Answer judge(const Hello& theirs) const;
  bool is_expected(const Hello& theirs) const;
  void refuse(Answer answer);
  void refuse(ErrorCode code, std::string reason);
  Mac proof(bool of_dialer) const;
  template <typename T>
  void put(const T& message) {
    output_.append(reinterpret_cast<const char*>(&message), sizeof message);
  }

  const Identity& identity_;
  bool dials_;
  IsConnected is_connected_;
  State state_ = State::kRunning;
  Step step_ = Step::kPrefix;
  NodeId peer_;
  Hello mine_, theirs_;
  std::string output_;
  Error refusal_;
};

}  // namespace gallocy::net
