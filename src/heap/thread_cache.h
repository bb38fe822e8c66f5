// ThreadCache: a thread's part of its node's heap. Allocates from slabs that only this thread takes objects from,
// without atomics or locks, and frees to them; frees to slabs of other threads go to their inboxes (slab.h), frees of
// other nodes' objects are gathered per owner and sent many at a time, as snmalloc does between threads (Liétar et al.:
// "snmalloc: a message passing allocator", ISMM 2019).
//
// Threads: used by one thread at a time, from Heap::attach_thread to detach_thread. Only flush() may be called by any.
//
// Invariants
// 1. A slab owned by this cache is exactly one of: the current one of its class, listed (has free objects), or full.
// 2. A listed slab has allocated objects; one that has none is given back to the heap, except the current one.
// 3. A batch holds fewer than kRemoteBatch addresses.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "heap/host.h"
#include "heap/layout.h"
#include "heap/slab.h"

namespace gallocy::heap {

class Heap;

// Addresses of one message of remote frees: 2 KiB, so that a frame's cost is shared by hundreds of frees while little
// memory waits to be freed.
inline constexpr std::size_t kRemoteBatch = 256;

inline constexpr std::size_t kMaxAlignment = kPageBytes;

class ThreadCache {
 public:
  // `batches`: zeroed, one per node; null if this node is the only one.
  ThreadCache(Heap& heap, void* batches);
  ThreadCache(const ThreadCache&) = delete;
  ThreadCache& operator=(const ThreadCache&) = delete;

  // Null when the slice is full. Aligned to kQuantumBytes; not zeroed.
  void* allocate(std::size_t bytes) {
    if (bytes <= kTableBytes) [[likely]] {
      const std::size_t size_class = kClassTable[(bytes + kQuantumBytes - 1) / kQuantumBytes];
      Bin& bin = bins_[size_class];
      const std::uint64_t free = bin.word->free.load(std::memory_order_relaxed);
      if (free != 0) [[likely]]
        return pop(bin, free);
    }
    return allocate_slowly(bytes);
  }
  // Also null if the alignment is not a power of two up to kMaxAlignment.
  void* allocate(std::size_t bytes, std::size_t alignment);

  // Takes null, and pointers of every node. A pointer that is wrong is reported to Host::bad_free, and nothing is
  // freed.
  void deallocate(void* pointer) {
    const std::uint64_t offset = reinterpret_cast<std::uint64_t>(pointer) - slice_start_;
    if (offset < slice_bytes_) [[likely]] {
      Slab& slab = slabs_[offset / kGranuleBytes];
      if (slab.owner.load(std::memory_order_relaxed) == this) [[likely]] {
        return free_own(slab, offset % kGranuleBytes, pointer);
      }
    }
    return deallocate_slowly(pointer);
  }

  // Sends the gathered frees of other nodes' objects home.
  void flush();

 private:
  friend class Heap;

  // Where the next object of a size class comes from.
  struct Bin {
    FreeWord* word;
    std::uint64_t start;  // of the word's first object
    std::uint64_t object_bytes;
    Slab* slab;  // the current one; null: `word` is none_
  };
  static_assert(sizeof(Bin) == 32);
  // The current word as a bit of Slab::nonempty.
  static std::uint64_t word_bit(const Bin& bin) { return std::uint64_t{1} << (bin.word - bin.slab->words); }
  struct List {
    Slab *first = nullptr, *last = nullptr;
  };
  struct Batch {
    std::uint32_t count;
    std::uint32_t listed;  // in batched_owners_; else empty
    std::uint64_t addresses[kRemoteBatch];
  };

  static void* pop(Bin& bin, std::uint64_t free) {
    bin.word->free.store(free & (free - 1), std::memory_order_relaxed);
    return reinterpret_cast<void*>(bin.start + static_cast<unsigned>(__builtin_ctzll(free)) * bin.object_bytes);
  }

  void free_own(Slab& slab, std::uint64_t delta, void* pointer) {
    std::uint64_t index;
    if (!divide(delta, slab.reciprocal, index) || index >= slab.objects) [[unlikely]] {
      return report(FreeError::kInsideObject, pointer);
    }
    const std::uint64_t w = index / 64, bit = std::uint64_t{1} << (index % 64);
    FreeWord& word = slab.words[w];
    const std::uint64_t free = word.free.load(std::memory_order_relaxed);
    if (((free | word.remote.load(std::memory_order_relaxed)) & bit) != 0) [[unlikely]] {
      return report(FreeError::kDoubleFree, pointer);
    }
    word.free.store(free | bit, std::memory_order_relaxed);
    slab.nonempty |= std::uint64_t{1} << w;
    if (--slab.countdown == 0) [[unlikely]]
      return settle(slab, 1);
  }

  void* allocate_slowly(std::size_t bytes);
  void* allocate_class(unsigned size_class);
  void* refill(unsigned size_class);
  void deallocate_slowly(void* pointer);
  void report(FreeError error, const void* pointer);
  FreeError free_remote(std::uint64_t address, NodeId owner);
  void send(NodeId owner, const Batch& batch);
  static std::size_t batch_bytes(const Layout& layout);  // of all batches

  // Puts a slab where it belongs (invariants 1 and 2): `freed` objects of a full one have become free, or all of
  // another.
  void settle(Slab& slab, std::uint32_t freed);
  void point(Bin& bin, Slab& slab);
  void link(Slab& slab);
  void unlink(Slab& slab);
  Slab* take_listed(unsigned size_class);

  // Any thread: tells the owner that the slab has remote frees.
  void push_pending(Slab& slab);
  void drain_inbox();
  void collect(Slab& slab);
  // Ends the use of all current slabs; what is empty goes back to the heap.
  void retire_current();

  // Constant after construction.
  const std::uint64_t slice_start_, slice_bytes_;
  Slab* const slabs_;
  Heap& heap_;

  // Of the thread.
  Bin bins_[kClassCount];
  List listed_[kClassCount];
  FreeWord none_{};  // no free objects

  alignas(64) std::atomic<Slab*> inbox_{nullptr};

  std::mutex batches_mu_;
  Batch* const batches_;                // per node; contents guarded by batches_mu_
  std::vector<NodeId> batched_owners_;  // those with `listed`; guarded by batches_mu_
  std::atomic<std::uint64_t> remote_frees_sent_{0}, remote_messages_sent_{0};
};

}  // namespace gallocy::heap
