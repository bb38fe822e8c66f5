// Drives this layer's decoders with arbitrary bytes and checks what must hold for any of them. Used by the fuzzers
// (tests/fuzz) and by the mutation tests that every run of the suite includes.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/prng.h"
#include "net/frame_reader.h"
#include "net/handshake.h"

namespace gallocy::net::testing {

struct DecodedFrame {
  wire::FrameHeader header;
  std::vector<std::byte> body, payload;
  friend bool operator==(const DecodedFrame& a, const DecodedFrame& b) {
    return std::memcmp(&a.header, &b.header, sizeof a.header) == 0 && a.body == b.body && a.payload == b.payload;
  }
};

// The plain twin of FrameReader: the frames that a whole input holds, up to the first violation.
struct DecodedStream {
  std::vector<DecodedFrame> frames;
  bool is_violated = false;
};
inline DecodedStream decode_plainly(std::span<const std::byte> bytes) {
  DecodedStream decoded;
  DecodedFrame frame;
  while (bytes.size() >= sizeof frame.header) {
    std::memcpy(&frame.header, bytes.data(), sizeof frame.header);
    decoded.is_violated = (frame.header.reserved16 | frame.header.reserved32) != 0 ||
                          frame.header.body_bytes > wire::kMaxBodyBytes ||
                          frame.header.payload_bytes > wire::kMaxPayloadBytes;
    if (decoded.is_violated) break;
    bytes = bytes.subspan(sizeof frame.header);
    if (bytes.size() < std::size_t{frame.header.body_bytes} + frame.header.payload_bytes) break;
    const auto body = bytes.first(frame.header.body_bytes);
    const auto payload = bytes.subspan(frame.header.body_bytes, frame.header.payload_bytes);
    frame.body.assign(body.begin(), body.end());
    frame.payload.assign(payload.begin(), payload.end());
    decoded.frames.push_back(frame);
    bytes = bytes.subspan(body.size() + payload.size());
  }
  return decoded;
}

// Places some payloads in pieces of their own, each an allocation, so that a sanitizer sees a byte out of place.
class DrivenSink final : public FrameSink {
 public:
  explicit DrivenSink(Prng& prng) : prng_(prng) {}

  std::size_t payload_target(NodeId, const wire::FrameHeader& header, std::span<const std::byte>,
                             std::span<iovec, 64> target) override {
    pieces_.clear();
    if (prng_.one_in(3)) return 0;
    std::size_t left = header.payload_bytes;
    while (left > 0) {
      const bool is_last = pieces_.size() + 1 == target.size();
      pieces_.emplace_back(is_last ? left : prng_.below(left + 1));
      target[pieces_.size() - 1] = {pieces_.back().data(), pieces_.back().size()};
      left -= pieces_.back().size();
    }
    return pieces_.size();
  }
  void frame_arrived(NodeId, const wire::FrameHeader& header, std::span<const std::byte> body,
                     std::span<const std::byte> payload) override {
    DecodedFrame& frame = frames.emplace_back();
    frame.header = header;
    frame.body.assign(body.begin(), body.end());
    frame.payload.assign(payload.begin(), payload.end());
    for (const auto& piece : pieces_) frame.payload.insert(frame.payload.end(), piece.begin(), piece.end());
    pieces_.clear();
  }
  void peer_down(NodeId, std::string_view) override {}

  std::vector<DecodedFrame> frames;

 private:
  Prng& prng_;
  std::vector<std::vector<std::byte>> pieces_;
};

// Feeds a stream in parts of random sizes, some of them in place; whatever the parts, the frames are the same.
inline void drive_frame_reader(std::uint64_t seed, std::span<const std::byte> bytes) {
  Prng prng(seed);
  DrivenSink sink(prng);
  bool more_follows = false, intact = true;
  FrameReader reader(NodeId{1}, more_follows);
  const DecodedStream expected = decode_plainly(bytes);
  while (!bytes.empty() && intact) {
    std::size_t part = std::min<std::size_t>(bytes.size(), 1 + prng.below(prng.one_in(2) ? 40 : 100'000));
    if (const auto missing = reader.missing(); !missing.empty() && prng.one_in(2)) {
      part = std::min(part, missing[0].iov_len);
      std::memcpy(missing[0].iov_base, bytes.data(), part);
      reader.filled(part, sink);
    } else {
      // A copy of its own size: reading beyond it is seen.
      const std::vector<std::byte> copy(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(part));
      intact = reader.take(copy, sink);
    }
    bytes = bytes.subspan(part);
  }
  CHECK(sink.frames == expected.frames, sink.frames.size(), expected.frames.size());
  CHECK(intact != expected.is_violated && intact == (reader.violation() == nullptr));
}

// Both sides of a handshake between nodes 0 (acceptor) and 1 (dialer) of a cluster.
struct HandshakePair {
  static constexpr std::string_view kSecret = "the secret of this cluster";
  static Handshake::Identity identity(std::uint16_t self) {
    return {.self = NodeId{self}, .nodes = 3, .links = LinkKind::kTcp, .secret = kSecret, .build_id = "build"};
  }
  static Nonce nonce(std::uint8_t fill) {
    Nonce value;
    value.fill(std::byte{fill});
    return value;
  }
  Handshake::Identity dialer_identity = identity(1), acceptor_identity = identity(0);
};

// Gives one side of a handshake what a stranger sends, who does not know the secret: it is never let in, and what it is
// told stays small.
inline void drive_handshake(bool is_dialer, std::span<const std::byte> bytes) {
  const HandshakePair pair;
  auto handshake = is_dialer ? Handshake::dialer(pair.dialer_identity, NodeId{0}, HandshakePair::nonce(1))
                             : Handshake::acceptor(pair.acceptor_identity, HandshakePair::nonce(2), nullptr);
  std::size_t said = 0;
  while (handshake.state() == Handshake::State::kRunning) {
    said += handshake.take_output().size();
    const std::size_t wanted = handshake.wanted();
    CHECK(wanted > 0 && wanted <= sizeof(Hello), wanted);
    if (bytes.size() < wanted) return;
    const std::vector<std::byte> copy(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(wanted));
    handshake.receive(copy);
    bytes = bytes.subspan(wanted);
  }
  said += handshake.take_output().size();
  CHECK(handshake.state() == Handshake::State::kRefused && !handshake.refusal().message.empty());
  CHECK(said <= sizeof(Hello) + sizeof(Verdict), said);
}

}  // namespace gallocy::net::testing
