#include "net/shm_ring.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace gallocy::net {
namespace {

bool lower(std::atomic<std::uint32_t>& flag) {
  return flag.load(std::memory_order_relaxed) != 0 && flag.exchange(0, std::memory_order_acq_rel) != 0;
}

}  // namespace

bool RingWriter::refresh() {
  const std::uint64_t read = ring_.read.load(std::memory_order_acquire);
  if (read > written_ || written_ - read > kRingBytes || read < read_) return false;
  read_ = read;
  return true;
}

std::optional<std::size_t> RingWriter::write(std::span<const iovec> pieces) {
  std::size_t wanted = 0;
  for (const iovec& piece : pieces) wanted += piece.iov_len;
  if (kRingBytes - (written_ - read_) < wanted && !refresh()) return std::nullopt;
  std::size_t taken = 0;
  for (const iovec& piece : pieces) {
    const std::size_t part = put(piece);
    taken += part;
    if (part < piece.iov_len) break;
  }
  if (taken > 0) ring_.written.store(written_, std::memory_order_release);
  return taken;
}

std::size_t RingWriter::put(const iovec& piece) {
  const std::size_t room = kRingBytes - (written_ - read_);
  const std::size_t part = std::min(piece.iov_len, room);
  const std::size_t at = written_ % kRingBytes, before_end = std::min(part, kRingBytes - at);
  const auto* from = static_cast<const std::byte*>(piece.iov_base);
  std::memcpy(ring_.data + at, from, before_end);
  std::memcpy(ring_.data, from + before_end, part - before_end);
  written_ += part;
  return part;
}

bool RingWriter::must_wake_reader() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return lower(ring_.reader_sleeps);
}

bool RingWriter::announce_wait() {
  ring_.writer_waits.store(1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return !has_room();
}

std::optional<std::span<const std::byte>> RingReader::readable() const {
  const std::uint64_t written = ring_.written.load(std::memory_order_acquire);
  if (written < read_ || written - read_ > kRingBytes) return std::nullopt;
  const std::size_t at = read_ % kRingBytes;
  return std::span<const std::byte>(ring_.data + at, std::min<std::size_t>(written - read_, kRingBytes - at));
}

void RingReader::consume(std::size_t bytes) {
  read_ += bytes;
  ring_.read.store(read_, std::memory_order_release);
}

bool RingReader::must_wake_writer() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return lower(ring_.writer_waits);
}

bool RingReader::announce_sleep() {
  announced_ = true;
  ring_.reader_sleeps.store(1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return is_empty();
}

bool RingReader::end_sleep() {
  return std::exchange(announced_, false) && ring_.reader_sleeps.exchange(0, std::memory_order_acq_rel) == 0;
}

}  // namespace gallocy::net
