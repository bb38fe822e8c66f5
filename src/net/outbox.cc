#include "net/outbox.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace gallocy::net {

void Outbox::append(std::span<const iovec> pieces, std::size_t skip) {
  std::size_t total = 0;
  for (const iovec& piece : pieces) total += piece.iov_len;
  CHECK(skip <= total, skip, total);
  if (skip == total) return;
  Chunk& chunk = chunk_for(total - skip);
  for (const iovec& piece : pieces) {
    const std::size_t skipped = std::min(skip, piece.iov_len);
    skip -= skipped;
    const auto* data = static_cast<const std::byte*>(piece.iov_base);
    chunk.data.insert(chunk.data.end(), data + skipped, data + piece.iov_len);
    bytes_ += piece.iov_len - skipped;
  }
}

Outbox::Chunk& Outbox::chunk_for(std::size_t count) {
  if (chunks_.empty() || chunks_.back().data.capacity() - chunks_.back().data.size() < count) {
    if (!chunks_.empty() && chunks_.back().data.empty()) chunks_.pop_back();
    chunks_.emplace_back();
    chunks_.back().data.reserve(std::max(count, kChunkBytes));
  }
  return chunks_.back();
}

std::size_t Outbox::gather(std::span<iovec> pieces) const {
  std::size_t count = 0;
  for (const Chunk& chunk : chunks_) {
    if (count == pieces.size() || chunk.begin == chunk.data.size()) break;
    auto* first = const_cast<std::byte*>(chunk.data.data()) + chunk.begin;  // iovec has no const form
    pieces[count++] = {first, chunk.data.size() - chunk.begin};
  }
  return count;
}

void Outbox::pop(std::size_t count) {
  CHECK(count <= bytes_, count, bytes_);
  bytes_ -= count;
  while (count > 0) {
    Chunk& chunk = chunks_.front();
    const std::size_t part = std::min(count, chunk.data.size() - chunk.begin);
    chunk.begin += part;
    count -= part;
    if (chunk.begin < chunk.data.size()) break;
    chunk.data.clear();
    chunk.begin = 0;
    if (chunks_.size() > 1 || chunk.data.capacity() > kChunkBytes) chunks_.pop_front();
  }
}

void Outbox::clear() {
  chunks_.clear();
  bytes_ = 0;
}

}  // namespace gallocy::net
