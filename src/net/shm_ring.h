// A ring of bytes in shared memory: one writer process, one reader process, which need not trust each other. Each side
// keeps its own position for itself and only publishes it; what it reads of the other's is checked before use, so a
// broken peer can end the link but not make this process touch memory outside the ring.
//
// Sleeping. A side that finds nothing to do raises its flag (reader_sleeps, writer_waits), looks once more, and sleeps
// on its doorbell. The other side publishes its position and then looks at the flag; between storing one and loading
// the other, both have a sequentially consistent fence, so at least one of them sees the other (Dekker). Who sees a
// raised flag lowers it and rings: one ring a sleep.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace gallocy::net {

inline constexpr std::size_t kRingBytes = 4 << 20;

// Positions count bytes since the start and never wrap. Each word has a cache line of its own.
struct Ring {
  alignas(64) std::atomic<std::uint64_t> written{0};
  alignas(64) std::atomic<std::uint64_t> read{0};
  alignas(64) std::atomic<std::uint32_t> reader_sleeps{0};
  alignas(64) std::atomic<std::uint32_t> writer_waits{0};
  alignas(4096) std::byte data[kRingBytes];
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free && (kRingBytes & (kRingBytes - 1)) == 0);

class RingWriter {
 public:
  explicit RingWriter(Ring& ring) : ring_(ring) {}

  // Copies as much of `pieces` as there is room for; nothing if the peer's position is impossible.
  std::optional<std::size_t> write(std::span<const iovec> pieces);
  // Whether the reader has to be woken. Call after write().
  bool must_wake_reader();
  // Before waiting for room: false if there is room now.
  bool announce_wait();

 private:
  bool has_room() { return written_ - read_ < kRingBytes || (refresh() && written_ - read_ < kRingBytes); }
  bool refresh();
  std::size_t put(const iovec& piece);

  Ring& ring_;
  std::uint64_t written_ = 0;
  std::uint64_t read_ = 0;  // the reader's position when last looked at
};

class RingReader {
 public:
  explicit RingReader(Ring& ring) : ring_(ring) {}

  // The bytes that can be read without a break, not all there may be; nothing if the peer's position is impossible.
  std::optional<std::span<const std::byte>> readable() const;
  bool is_empty() const { return ring_.written.load(std::memory_order_acquire) == read_; }
  void consume(std::size_t bytes);
  // Whether the writer has to be woken. Call after consume().
  bool must_wake_writer();
  // Before sleeping: false if there is something to read now.
  bool announce_sleep();
  // After sleeping: true if the writer has rung or will.
  bool end_sleep();

 private:
  Ring& ring_;
  std::uint64_t read_ = 0;
  bool announced_ = false;
};

}  // namespace gallocy::net
