// FrameReader: turns the byte stream of one peer into frames. Knows no sockets: a link hands it what it has read, or
// receives a payload straight into the places the reader names.
//
// Only the poller uses it. The bytes may come from a broken peer, and from memory that the peer can still write: every
// byte is copied out once and judged only after that.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/ids.h"
#include "net/mesh.h"
#include "wire/frame.h"

namespace gallocy::net {

class FrameReader {
 public:
  // `more_follows` is set while a frame is delivered behind which more bytes are already here: answers to it may be
  // gathered with the answers to what follows.
  FrameReader(NodeId from, bool& more_follows) : from_(from), more_follows_(more_follows) {}

  // Takes all of `bytes`, delivering the frames that they complete. False: the peer broke the protocol (violation()
  // says how), and no frame may be read from it any more.
  bool take(std::span<const std::byte> bytes, FrameSink& sink);

  // The places that the rest of a payload goes to, to be filled from the front; empty if the next bytes are no payload.
  std::span<iovec> missing() { return {pieces_.data() + first_piece_, piece_count_ - first_piece_}; }
  // The first `bytes` bytes of missing() have been filled.
  void filled(std::size_t bytes, FrameSink& sink);

  // Whether the stream looks like a bulk transfer: the last payload was large. A link then reads no more than
  // kBulkLookAhead bytes beyond a payload, so that most of the next one is received in place.
  bool bulk() const { return header_.payload_bytes >= kBulkPayloadBytes; }
  static constexpr std::size_t kBulkPayloadBytes = 16 << 10;
  static constexpr std::size_t kBulkLookAhead = 512;

  const char* violation() const { return violation_; }
  std::uint64_t frames() const { return frames_; }

 private:
  enum class Stage : std::uint8_t { kHeader, kBody, kPayload };

  std::size_t fill_head(std::span<const std::byte> bytes, std::size_t end);
  bool header_complete();
  void body_complete(FrameSink& sink);
  void choose_places(FrameSink& sink);
  std::size_t fill_pieces(std::span<const std::byte> bytes);
  void advance(std::size_t part);
  void deliver(FrameSink& sink);
  std::span<const std::byte> body() const { return {head_.data() + sizeof header_, header_.body_bytes}; }

  const NodeId from_;
  bool& more_follows_;
  Stage stage_ = Stage::kHeader;
  bool placed_ = false;         // the payload goes to the sink's places, not to buffer_
  wire::FrameHeader header_;    // of the frame being read, checked
  std::size_t head_bytes_ = 0;  // of header and body, here so far
  std::size_t first_piece_ = 0;
  std::size_t piece_count_ = 0;
  const char* violation_ = nullptr;
  std::uint64_t frames_ = 0;
  std::array<iovec, 64> pieces_;
  std::unique_ptr<std::byte[]> buffer_;  // for payloads that the sink does not place; made when first needed
  alignas(64) std::array<std::byte, sizeof(wire::FrameHeader) + wire::kMaxBodyBytes> head_;
};

}  // namespace gallocy::net
