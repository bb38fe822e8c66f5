// Heap: one node's part of the global heap. Gives out objects of the node's own slice of the heap region, and takes
// back objects of every node. docs/protocol.md tells what travels between nodes.
//
// All metadata is private memory of the owning node: neither allocating nor freeing reads or writes an object's memory.
// Objects of two nodes never share a page because slices do not.
//
// Threads: every function may be called by any thread, but for those of a ThreadCache, which are for its thread. No
// function waits for another node. Host functions are called without locks held. mu_ is a leaf, except that
// ThreadCache::batches_mu_ is never held together with it.
//
// Invariants
// 1. Every granule of the slice is part of exactly one of: a free run, a slab, a large object, a run that tick()
// discards.
// 2. A slab in use is owned by one thread cache, attached or idle; all others by unowned_.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "heap/host.h"
#include "heap/layout.h"
#include "heap/runs.h"
#include "heap/slab.h"
#include "heap/thread_cache.h"

namespace gallocy::heap {

// Empty slabs and freed large objects keep their frames for this many ticks, because they are likely to be used again
// and a first touch costs a fault.
inline constexpr std::uint64_t kPurgeTicks = 10;
// Bounds the work of one tick.
inline constexpr unsigned kPurgeRunsPerTick = 64;
// Threads that use the heap at one time; each costs 8 KiB and its slabs.
inline constexpr std::size_t kMaxThreads = 16 * 1024;

struct Statistics {
  std::uint64_t allocated_bytes = 0;  // in objects, as their classes are; large objects in granules
  std::uint64_t allocated_objects = 0;
  std::uint64_t large_objects = 0, large_bytes = 0;
  std::array<std::uint64_t, kClassCount> slabs{};  // per size class
  std::uint64_t slab_bytes = 0;
  std::uint64_t free_bytes = 0;  // of the slice
  std::uint64_t remote_frees_sent = 0, remote_messages_sent = 0;
  std::uint64_t remote_frees_received = 0, remote_messages_received = 0;
  std::uint64_t released_bytes = 0;  // passed to release_pages
  std::uint64_t threads = 0, idle_threads = 0;
};

class Heap {
 public:
  // kInvalidArgument if the layout is not as layout.h says; kOutOfMemory if there is no private memory. Memory and host
  // must outlive the heap.
  static Result<std::unique_ptr<Heap>> create(const Layout& layout, PrivateMemory& memory, Host& host);
  // No thread may use the heap or its caches any more.
  ~Heap();
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  // The cache of a thread that begins to use the heap: that of an exited thread with all its slabs, or a new one. Null
  // if there are kMaxThreads, or no private memory.
  ThreadCache* attach_thread();
  // The thread exits. Its empty slabs go back, its gathered frees leave; the rest waits for the next thread.
  void detach_thread(ThreadCache& cache);

  // Node `from` freed these objects of ours. The addresses may be anything: each that is wrong is reported to
  // Host::bad_free, and the others are freed.
  void remote_freed(NodeId from, std::span<const std::uint64_t> addresses);

  // To be called at even intervals, of 100 ms or so: sends gathered remote frees and discards frames of memory that has
  // been free for kPurgeTicks.
  void tick();
  // Sends the gathered remote frees of all threads.
  void flush();

  const Layout& layout() const { return layout_; }
  // Bytes of the object at `pointer`; 0 if it is not an allocated object of this node.
  std::size_t usable_size(const void* pointer) const;
  Statistics statistics();
  // While no other thread uses the heap.
  void check_invariants();

 private:
  friend class ThreadCache;

  Heap(const Layout& layout, PrivateMemory& memory, Host& host);
  bool open();
  Shape shape_at(std::uint64_t granule) const { return {shapes_[granule].load(std::memory_order_relaxed)}; }
  std::uint64_t start_of(const Slab& slab) const {
    return slice_start_ + static_cast<std::uint64_t>(&slab - slabs_) * kGranuleBytes;
  }

  // For thread caches.
  Slab* acquire_slab(unsigned size_class, ThreadCache& cache);  // with free objects; null: full
  void release_slab(Slab& slab);                                // by its owner, entirely free
  void* allocate_large(std::size_t bytes);
  FreeError free_large(std::uint64_t granule);
  FreeError free_shared(Slab& slab, unsigned size_class, std::uint64_t delta);
  FreeError free_local(std::uint64_t address);

  BadFree describe(FreeError error, const void* pointer) const;
  std::optional<std::uint64_t> take_run(std::uint64_t granules);
  Slab& make_slab(unsigned size_class, std::uint64_t first, ThreadCache& cache);
  Slab* adopt_slab(unsigned size_class, ThreadCache& cache, std::size_t most_caches);
  // An idle cache is worked on by taking it out of idle_, as if by a thread. Null if there is none.
  ThreadCache* borrow_idle();
  void return_idle(ThreadCache& cache);
  void drain_idle(std::size_t most_caches);
  void drain_unowned();
  std::vector<ThreadCache*> all_caches();
  void purge();
  std::uint64_t live_objects(std::uint64_t granule, unsigned size_class) const;
  void check_slab(std::uint64_t granule, unsigned size_class);

  // Constant after construction.
  const Layout layout_;
  const std::uint64_t slice_start_;
  PrivateMemory& memory_;
  Host& host_;
  Slab* slabs_ = nullptr;                         // per granule; those of first granules of slabs are in use
  std::atomic<std::uint64_t>* shapes_ = nullptr;  // per granule

  std::mutex mu_;
  Runs runs_;                         // guarded by mu_
  ThreadCache* unowned_ = nullptr;    // its inbox is drained under mu_
  std::vector<ThreadCache*> caches_;  // guarded by mu_
  std::deque<ThreadCache*> idle_;     // guarded by mu_; most recently used last
  std::uint64_t tick_ = 0;            // guarded by mu_
  std::uint64_t released_bytes_ = 0;  // guarded by mu_
  std::atomic<std::uint64_t> remote_frees_received_{0}, remote_messages_received_{0};
};

}  // namespace gallocy::heap
