#include "net/frame_reader.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace gallocy::net {

bool FrameReader::take(std::span<const std::byte> bytes, FrameSink& sink) {
  while (!bytes.empty()) {
    switch (stage_) {
      case Stage::kHeader:
        bytes = bytes.subspan(fill_head(bytes, sizeof header_));
        if (head_bytes_ < sizeof header_) return true;
        if (!header_complete()) return false;
        break;
      case Stage::kBody:
        bytes = bytes.subspan(fill_head(bytes, sizeof header_ + header_.body_bytes));
        break;
      case Stage::kPayload:
        bytes = bytes.subspan(fill_pieces(bytes));
        break;
    }
    more_follows_ = !bytes.empty();
    if (stage_ == Stage::kBody && head_bytes_ == sizeof header_ + header_.body_bytes) body_complete(sink);
    if (stage_ == Stage::kPayload && missing().empty()) deliver(sink);
    more_follows_ = false;
  }
  return true;
}

void FrameReader::filled(std::size_t bytes, FrameSink& sink) {
  while (bytes > 0) {
    CHECK(first_piece_ < piece_count_);
    const std::size_t part = std::min(bytes, pieces_[first_piece_].iov_len);
    advance(part);
    bytes -= part;
  }
  if (stage_ == Stage::kPayload && missing().empty()) deliver(sink);
}

// Copies bytes to the head until it has `end` of them; returns how many it took.
std::size_t FrameReader::fill_head(std::span<const std::byte> bytes, std::size_t end) {
  const std::size_t part = std::min(bytes.size(), end - head_bytes_);
  std::memcpy(head_.data() + head_bytes_, bytes.data(), part);
  head_bytes_ += part;
  return part;
}

bool FrameReader::header_complete() {
  std::memcpy(&header_, head_.data(), sizeof header_);
  if ((header_.reserved16 | header_.reserved32) != 0) violation_ = "broke the protocol: reserved bits are set";
  if (header_.body_bytes > wire::kMaxBodyBytes) violation_ = "broke the protocol: a body is too long";
  if (header_.payload_bytes > wire::kMaxPayloadBytes) violation_ = "broke the protocol: a payload is too long";
  stage_ = Stage::kBody;
  return violation_ == nullptr;
}

void FrameReader::body_complete(FrameSink& sink) {
  stage_ = Stage::kPayload;
  first_piece_ = piece_count_ = 0;
  if (header_.payload_bytes > 0) choose_places(sink);
}

void FrameReader::choose_places(FrameSink& sink) {
  piece_count_ = sink.payload_target(from_, header_, body(), pieces_);
  placed_ = piece_count_ > 0;
  if (!placed_) {
    if (!buffer_) buffer_ = std::make_unique_for_overwrite<std::byte[]>(wire::kMaxPayloadBytes);
    pieces_[0] = {buffer_.get(), header_.payload_bytes};
    piece_count_ = 1;
    return;
  }
  CHECK(piece_count_ <= pieces_.size(), piece_count_);
  std::size_t room = 0, kept = 0;
  for (std::size_t i = 0; i < piece_count_; ++i) {
    room += pieces_[i].iov_len;
    if (pieces_[i].iov_len > 0) pieces_[kept++] = pieces_[i];
  }
  piece_count_ = kept;
  CHECK(room == header_.payload_bytes, room, header_.payload_bytes);
}

std::size_t FrameReader::fill_pieces(std::span<const std::byte> bytes) {
  std::size_t taken = 0;
  while (taken < bytes.size() && first_piece_ < piece_count_) {
    const iovec& piece = pieces_[first_piece_];
    const std::size_t part = std::min(bytes.size() - taken, piece.iov_len);
    std::memcpy(piece.iov_base, bytes.data() + taken, part);
    taken += part;
    advance(part);
  }
  return taken;
}

// The first `part` bytes of the current piece are there.
void FrameReader::advance(std::size_t part) {
  iovec& piece = pieces_[first_piece_];
  piece.iov_base = static_cast<std::byte*>(piece.iov_base) + part;
  piece.iov_len -= part;
  if (piece.iov_len == 0) ++first_piece_;
}

void FrameReader::deliver(FrameSink& sink) {
  stage_ = Stage::kHeader;
  head_bytes_ = 0;
  ++frames_;
  const bool buffered = header_.payload_bytes > 0 && !placed_;
  sink.frame_arrived(
      from_, header_, body(),
      buffered ? std::span<const std::byte>(buffer_.get(), header_.payload_bytes) : std::span<const std::byte>());
}

}  // namespace gallocy::net
