#include "heap/thread_cache.h"

#include <bit>
#include <new>

#include "base/check.h"
#include "heap/heap.h"

namespace gallocy::heap {

ThreadCache::ThreadCache(Heap& heap, void* batches)
    : slice_start_(heap.slice_start_),
      slice_bytes_(heap.layout_.slice_bytes),
      slabs_(heap.slabs_),
      heap_(heap),
      batches_(static_cast<Batch*>(batches)) {
  for (Bin& bin : bins_) bin = {&none_, 0, 0, nullptr};
}

std::size_t ThreadCache::batch_bytes(const Layout& layout) {
  return layout.nodes > 1 ? layout.nodes * sizeof(Batch) : 0;
}

void* ThreadCache::allocate_slowly(std::size_t bytes) {
  if (bytes <= kMaxClassBytes) {
    if (void* object = allocate_class(class_of(bytes == 0 ? 1 : bytes)); object != nullptr) return object;
    // There is no room for a slab: a run of its own may still fit.
  }
  return heap_.allocate_large(bytes);
}

void* ThreadCache::allocate_class(unsigned size_class) {
  Bin& bin = bins_[size_class];
  const std::uint64_t free = bin.word->free.load(std::memory_order_relaxed);
  return free != 0 ? pop(bin, free) : refill(size_class);
}

void* ThreadCache::allocate(std::size_t bytes, std::size_t alignment) {
  if (alignment <= kQuantumBytes) return std::has_single_bit(alignment) ? allocate(bytes) : nullptr;
  if (!std::has_single_bit(alignment) || alignment > kMaxAlignment || bytes > slice_bytes_) return nullptr;
  bytes = bytes == 0 ? alignment : (bytes + alignment - 1) / alignment * alignment;
  if (bytes <= kMaxClassBytes) {
    // The largest class is a multiple of every alignment, so the search ends.
    unsigned size_class = class_of(bytes);
    while (kSizeClasses[size_class].bytes % alignment != 0) ++size_class;
    if (void* object = allocate_class(size_class); object != nullptr) return object;
  }
  return heap_.allocate_large(bytes);
}

void* ThreadCache::refill(unsigned size_class) {
  Bin& bin = bins_[size_class];
  if (Slab* slab = bin.slab; slab != nullptr) {
    slab->nonempty &= ~word_bit(bin);
    if (slab->nonempty == 0) {
      slab->countdown = 1;
      bin = {&none_, 0, 0, nullptr};
    }
  }
  if (bin.slab == nullptr) {
    drain_inbox();
    Slab* slab = take_listed(size_class);
    if (slab == nullptr) slab = heap_.acquire_slab(size_class, *this);
    if (slab == nullptr) return nullptr;
    slab->countdown = Slab::kNever;
    bin.slab = slab;
  }
  point(bin, *bin.slab);
  return pop(bin, bin.word->free.load(std::memory_order_relaxed));
}

void ThreadCache::point(Bin& bin, Slab& slab) {
  const auto w = static_cast<unsigned>(std::countr_zero(slab.nonempty));
  bin = {&slab.words[w], heap_.start_of(slab) + std::uint64_t{w} * 64 * slab.object_bytes, slab.object_bytes, &slab};
}

void ThreadCache::link(Slab& slab) {
  List& list = listed_[slab.size_class];
  slab.listed = 1;
  slab.previous = list.last;
  slab.next = nullptr;
  (list.last != nullptr ? list.last->next : list.first) = &slab;
  list.last = &slab;
}

void ThreadCache::unlink(Slab& slab) {
  List& list = listed_[slab.size_class];
  slab.listed = 0;
  (slab.previous != nullptr ? slab.previous->next : list.first) = slab.next;
  (slab.next != nullptr ? slab.next->previous : list.last) = slab.previous;
}

Slab* ThreadCache::take_listed(unsigned size_class) {
  Slab* slab = listed_[size_class].first;
  if (slab != nullptr) unlink(*slab);
  return slab;
}

void ThreadCache::settle(Slab& slab, std::uint32_t freed) {
  if (bins_[slab.size_class].slab == &slab) {
    slab.countdown = Slab::kNever;
    return;
  }
  if (slab.listed == 0) {
    link(slab);
    slab.countdown = slab.objects - freed;
  }
  if (slab.countdown != 0) return;
  unlink(slab);
  heap_.release_slab(slab);
}

void ThreadCache::retire_current() {
  for (Bin& bin : bins_) {
    Slab* const slab = bin.slab;
    if (slab == nullptr) continue;
    if (bin.word->free.load(std::memory_order_relaxed) == 0) slab->nonempty &= ~word_bit(bin);
    bin = {&none_, 0, 0, nullptr};
    slab->countdown = 1;
    if (const std::uint32_t free = slab->free_objects(); free != 0) settle(*slab, free);
  }
}

void ThreadCache::push_pending(Slab& slab) {
  Slab* head = inbox_.load(std::memory_order_relaxed);
  do {
    slab.next_pending = head;
  } while (!inbox_.compare_exchange_weak(head, &slab, std::memory_order_release, std::memory_order_relaxed));
}

void ThreadCache::drain_inbox() {
  if (inbox_.load(std::memory_order_relaxed) == nullptr) return;
  Slab* slab = inbox_.exchange(nullptr, std::memory_order_acquire);
  while (slab != nullptr) {
    Slab* const next = slab->next_pending;  // read before collect(), after which others may push the slab again
    ThreadCache* const owner = slab->owner.load(std::memory_order_acquire);
    if (owner == this) {
      collect(*slab);
    } else {
      owner->push_pending(*slab);
    }
    slab = next;
  }
}

void ThreadCache::collect(Slab& slab) {
  std::uint32_t freed = 0;
  for (std::uint64_t pending = slab.remote_pending.exchange(0); pending != 0; pending &= pending - 1) {
    const auto w = static_cast<unsigned>(std::countr_zero(pending));
    FreeWord& word = slab.words[w];
    std::uint64_t bits = word.remote.exchange(0);
    const std::uint64_t free = word.free.load(std::memory_order_relaxed);
    if (const std::uint64_t twice = bits & free; twice != 0) {
      const std::uint64_t index = w * 64 + static_cast<unsigned>(std::countr_zero(twice));
      report(FreeError::kDoubleFree, reinterpret_cast<void*>(heap_.start_of(slab) + index * slab.object_bytes));
      bits &= ~twice;
    }
    if (bits == 0) continue;  // collected before, when the word was pending for another object
    word.free.store(free | bits, std::memory_order_relaxed);
    slab.nonempty |= std::uint64_t{1} << w;
    freed += static_cast<std::uint32_t>(std::popcount(bits));
  }
  if (freed == 0) return;
  if (slab.listed != 0) slab.countdown -= freed;
  settle(slab, freed);
}

void ThreadCache::deallocate_slowly(void* pointer) {
  if (pointer == nullptr) return;
  const auto address = reinterpret_cast<std::uint64_t>(pointer);
  const Layout& layout = heap_.layout_;
  FreeError error = FreeError::kForeign;
  if (layout.contains(address)) {
    const NodeId owner = layout.owner_of(address);
    if (owner == layout.self) {
      const std::uint64_t granule = (address - slice_start_) / kGranuleBytes;
      if (const Shape shape = heap_.shape_at(granule); shape.is_slab()) {
        Slab& slab = slabs_[granule - shape.back()];
        if (slab.owner.load(std::memory_order_relaxed) == this) {
          return free_own(slab, address - heap_.start_of(slab), pointer);
        }
      }
      error = heap_.free_local(address);
    } else {
      error = free_remote(address, owner);
    }
  }
  if (error != FreeError::kNone) report(error, pointer);
}

[[gnu::cold]] void ThreadCache::report(FreeError error, const void* pointer) {
  heap_.host_.bad_free(heap_.describe(error, pointer));
}

FreeError ThreadCache::free_remote(std::uint64_t address, NodeId owner) {
  if (address % kQuantumBytes != 0) return FreeError::kInsideObject;
  Batch full;
  {
    std::scoped_lock lock(batches_mu_);
    Batch& batch = batches_[owner.value];
    if (batch.listed == 0) {
      batch.listed = 1;
      batched_owners_.push_back(owner);
    }
    batch.addresses[batch.count++] = address;
    if (batch.count < kRemoteBatch) return FreeError::kNone;
    full = batch;
    batch.count = 0;
  }
  send(owner, full);
  return FreeError::kNone;
}

void ThreadCache::flush() {
  while (true) {
    Batch batch;
    NodeId owner;
    {
      std::scoped_lock lock(batches_mu_);
      if (batched_owners_.empty()) return;
      owner = batched_owners_.back();
      batched_owners_.pop_back();
      batch = batches_[owner.value];
      batches_[owner.value].listed = 0;
      batches_[owner.value].count = 0;
    }
    if (batch.count != 0) send(owner, batch);
  }
}

void ThreadCache::send(NodeId owner, const Batch& batch) {
  remote_frees_sent_.fetch_add(batch.count, std::memory_order_relaxed);
  remote_messages_sent_.fetch_add(1, std::memory_order_relaxed);
  heap_.host_.send_remote_frees(owner, {batch.addresses, batch.count});
}

}  // namespace gallocy::heap
