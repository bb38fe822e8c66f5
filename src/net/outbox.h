// Outbox: the bytes of one link that the peer has not taken yet, in order. Frames are copied into chunks, so that many
// small ones leave with one system call. Not thread-safe: the link's lock guards it.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <deque>
#include <span>
#include <vector>

namespace gallocy::net {

class Outbox {
 public:
  bool empty() const { return bytes_ == 0; }
  std::size_t bytes() const { return bytes_; }

  // Copies `pieces` without their first `skip` bytes.
  void append(std::span<const iovec> pieces, std::size_t skip);
  // Names the first bytes, in at most pieces.size() pieces; returns how many pieces.
  std::size_t gather(std::span<iovec> pieces) const;
  // Drops the first `count` bytes.
  void pop(std::size_t count);
  void clear();

 private:
  // Small frames share a chunk of this size; a larger rest of a frame gets a chunk of its own.
  static constexpr std::size_t kChunkBytes = 64 << 10;

  struct Chunk {
    std::vector<std::byte> data;
    std::size_t begin = 0;
  };
  Chunk& chunk_for(std::size_t count);

  std::deque<Chunk> chunks_;  // only the last may be empty: kept, so that a link that is often full does not allocate
  std::size_t bytes_ = 0;
};

}  // namespace gallocy::net
