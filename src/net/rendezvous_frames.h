// What a node and its launcher say to each other on the TCP connection between them (the *launcher link*), as bytes.
//
//   body_bytes u32 | type u16 | zero u16 | body | tag (16 bytes, only after the handshake)
//
// Handshake, after which both sides know that the other holds the cluster secret (challenge and response as in
// ISO/IEC 9798-4; the two labels differ, so that neither side can be made to answer its own challenge). The launcher
// tells a stranger nothing but 32 random bytes:
//
//   node      HELLO      magic, version, node, nodes, nonce of the node
//   launcher  CHALLENGE  nonce of the launcher
//   node      PROOF      HMAC-SHA-256(secret, "node" | hello | challenge)
//   launcher  WELCOME    HMAC-SHA-256(secret, "launcher" | hello | challenge)
//
// From then on every frame carries a tag over direction, sequence number, header and body under a key of this
// connection: nobody in between can change, repeat or drop frames unnoticed. They are not secret: addresses and
// counters.
//
// SealedStream is pure: bytes in, frames out.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "net/hmac.h"
#include "net/mesh.h"
#include "wire/bytes.h"

namespace gallocy::net::rendezvous {

inline constexpr std::uint64_t kMagic = 0x317a766463796c67;  // "glycdvz1"
inline constexpr std::uint16_t kVersion = 1;
inline constexpr std::size_t kHeaderBytes = 8;
inline constexpr std::size_t kTagBytes = 16;
// The addresses of kMaxNodes nodes with host names of 255 bytes take 260 KiB; statistics are cut to fit.
inline constexpr std::uint32_t kMaxBodyBytes = 1 << 20;
// Before the handshake is over nobody may make us keep more than this.
inline constexpr std::uint32_t kMaxStrangerBodyBytes = 64;
inline constexpr std::size_t kMaxHostBytes = 255;
inline constexpr std::size_t kMinSecretBytes = 16, kMaxSecretBytes = 256;

enum class FrameType : std::uint16_t {
  kHello = 1,
  kChallenge,
  kProof,
  kWelcome,
  kAddress,           // node: where others reach me (encode_addresses of one)
  kPeers,             // launcher: everybody's addresses, when all have come
  kMissing,           // launcher: the nodes that did not come in time (encode_nodes)
  kStatisticsWanted,  // launcher, empty
  kStatistics,        // node: JSON text
  kPeerLost,          // node: I lost that peer, and why (encode_loss)
  kFinished,          // node, empty: I am leaving; my end is no failure
  kFarewell,          // launcher, empty: I know
};

struct Frame {
  FrameType type{};
  wire::Bytes body;
};

using Proof = Mac;

struct Hello {
  std::uint64_t magic = kMagic;
  std::uint16_t version = kVersion;
  std::uint16_t node = 0;
  std::uint16_t nodes = 0;
  std::uint16_t zero = 0;
  Nonce nonce{};
};
static_assert(sizeof(Hello) == 48 && sizeof(Hello) <= kMaxStrangerBodyBytes);

enum class Side : std::uint8_t { kNode, kLauncher };

Proof prove(std::string_view secret, Side side, const Hello& hello, const Nonce& challenge);

class SealedStream {
 public:
  explicit SealedStream(Side self) : self_(self) {}

  // Called by both sides when the handshake is over.
  void seal(std::string_view secret, const Hello& hello, const Nonce& challenge);

  // Appends the frame's bytes to `out`.
  void encode(FrameType type, std::span<const std::byte> body, wire::Bytes& out);

  // Takes bytes as they come from the socket.
  void feed(std::span<const std::byte> bytes) { in_.insert(in_.end(), bytes.begin(), bytes.end()); }
  // The next whole frame; nothing when more bytes are needed; kProtocol when the stream is broken, and then for good.
  Result<std::optional<Frame>> next();

 private:
  using Tag = std::array<std::byte, kTagBytes>;
  Tag tag(Side from, std::uint64_t sequence, std::span<const std::byte> header_and_body) const;

  const Side self_;
  bool sealed_ = false;
  Proof key_{};
  std::uint64_t sent_ = 0, received_ = 0;  // frames since seal()
  wire::Bytes in_;
};

wire::Bytes encode_addresses(const std::vector<PeerAddress>& addresses);
Result<std::vector<PeerAddress>> decode_addresses(std::span<const std::byte> body);

wire::Bytes encode_nodes(const std::vector<NodeId>& nodes);
Result<std::vector<NodeId>> decode_nodes(std::span<const std::byte> body);

struct Loss {
  NodeId peer{};
  std::string reason;
};
wire::Bytes encode_loss(const Loss& loss);
Result<Loss> decode_loss(std::span<const std::byte> body);

// "node 3", "nodes 1, 2 and 5", "nodes 1, 2, 3 and 96 more".
std::string name_nodes(const std::vector<NodeId>& nodes);

}  // namespace gallocy::net::rendezvous
