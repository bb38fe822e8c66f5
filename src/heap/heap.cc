#include "heap/heap.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <new>
#include <utility>

#include "base/check.h"

namespace gallocy::heap {
namespace {

// Idle caches looked through for each slab, and each tick: enough to come round to all of them, cheap beside the slab.
constexpr std::size_t kIdleCachesPerVisit = 4;

constexpr std::uint64_t bit(std::uint64_t index) { return std::uint64_t{1} << index; }

}  // namespace

Result<std::unique_ptr<Heap>> Heap::create(const Layout& layout, PrivateMemory& memory, Host& host) {
  if (layout.start % kGranuleBytes != 0 || !std::has_single_bit(layout.slice_bytes) ||
      layout.slice_bytes < kMinSliceBytes || layout.self.value >= layout.nodes || layout.nodes > kMaxNodes) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("heap of {} nodes at {:#x} with slices of {} bytes: slices are powers of two from {}",
                            layout.nodes, layout.start, layout.slice_bytes, kMinSliceBytes));
  }
  std::unique_ptr<Heap> heap(new Heap(layout, memory, host));
  if (!heap->open()) return fail(ErrorCode::kOutOfMemory, "no private memory for the heap's metadata");
  return heap;
}

Heap::Heap(const Layout& layout, PrivateMemory& memory, Host& host)
    : layout_(layout), slice_start_(layout.slice_start(layout.self)), memory_(memory), host_(host) {}

bool Heap::open() {
  const std::uint64_t granules = layout_.granules();
  slabs_ = static_cast<Slab*>(memory_.reserve(granules * sizeof(Slab)));
  shapes_ = static_cast<std::atomic<std::uint64_t>*>(memory_.reserve(granules * sizeof(std::uint64_t)));
  void* const unowned = memory_.reserve(sizeof(ThreadCache));
  if (slabs_ == nullptr || shapes_ == nullptr || unowned == nullptr || !runs_.open(granules, memory_)) return false;
  unowned_ = new (unowned) ThreadCache(*this, nullptr);
  return true;
}

Heap::~Heap() {
  for (ThreadCache* cache : caches_) std::destroy_at(cache);
  if (unowned_ != nullptr) std::destroy_at(unowned_);
}

ThreadCache* Heap::attach_thread() {
  std::scoped_lock lock(mu_);
  if (!idle_.empty()) {
    ThreadCache* const cache = idle_.back();
    idle_.pop_back();
    return cache;
  }
  if (caches_.size() == kMaxThreads) return nullptr;
  const std::size_t batch_bytes = ThreadCache::batch_bytes(layout_);
  void* const batches = batch_bytes != 0 ? memory_.reserve(batch_bytes) : nullptr;
  void* const place = memory_.reserve(sizeof(ThreadCache));
  if (place == nullptr || (batches == nullptr && batch_bytes != 0)) return nullptr;
  caches_.push_back(new (place) ThreadCache(*this, batches));
  return caches_.back();
}

void Heap::detach_thread(ThreadCache& cache) {
  cache.flush();
  cache.drain_inbox();
  cache.retire_current();
  return_idle(cache);
}

ThreadCache* Heap::borrow_idle() {
  std::scoped_lock lock(mu_);
  if (idle_.empty()) return nullptr;
  ThreadCache* const cache = idle_.front();
  idle_.pop_front();
  return cache;
}

void Heap::return_idle(ThreadCache& cache) {
  std::scoped_lock lock(mu_);
  idle_.push_back(&cache);
}

Slab* Heap::acquire_slab(unsigned size_class, ThreadCache& cache) {
  if (Slab* slab = adopt_slab(size_class, cache, kIdleCachesPerVisit); slab != nullptr) return slab;
  const std::uint64_t granules = kSizeClasses[size_class].granules;
  {
    std::scoped_lock lock(mu_);
    drain_unowned();
    if (const auto first = runs_.take(granules); first) return &make_slab(size_class, *first, cache);
  }
  // The slice is full. Exited threads may have a slab of this class, or empty ones of others, which they give back.
  if (Slab* slab = adopt_slab(size_class, cache, kMaxThreads); slab != nullptr) return slab;
  std::scoped_lock lock(mu_);
  if (const auto first = runs_.take(granules); first) return &make_slab(size_class, *first, cache);
  return nullptr;
}

Slab* Heap::adopt_slab(unsigned size_class, ThreadCache& cache, std::size_t most_caches) {
  Slab* slab = nullptr;
  while (slab == nullptr && most_caches-- != 0) {
    ThreadCache* const idle = borrow_idle();
    if (idle == nullptr) break;
    idle->drain_inbox();
    slab = idle->take_listed(size_class);
    std::scoped_lock lock(mu_);
    if (slab != nullptr) slab->owner.store(&cache, std::memory_order_release);
    idle_.push_back(idle);
    most_caches = std::min(most_caches, idle_.size());
  }
  return slab;
}

Slab& Heap::make_slab(unsigned size_class, std::uint64_t first, ThreadCache& cache) {
  const SizeClass& info = kSizeClasses[size_class];
  Slab& slab = slabs_[first];
  slab.object_bytes = info.bytes;
  slab.reciprocal = info.reciprocal;
  slab.objects = static_cast<std::uint16_t>(info.objects);
  slab.size_class = static_cast<std::uint8_t>(size_class);
  slab.last_word = static_cast<std::uint8_t>((info.objects - 1) / 64);
  slab.last_mask = ~std::uint64_t{0} >> (63 - (info.objects - 1) % 64);
  slab.listed = 0;
  slab.countdown = 1;
  for (unsigned w = 0; w <= slab.last_word; ++w) {
    slab.words[w].free.store(slab.mask_of(w), std::memory_order_relaxed);
    slab.words[w].remote.store(0, std::memory_order_relaxed);
  }
  slab.nonempty = ~std::uint64_t{0} >> (63 - slab.last_word);
  slab.owner.store(&cache, std::memory_order_release);
  for (std::uint64_t back = 0; back < info.granules; ++back) {
    shapes_[first + back].store(Shape::slab(size_class, back).word, std::memory_order_release);
  }
  return slab;
}

void Heap::release_slab(Slab& slab) {
  const auto first = static_cast<std::uint64_t>(&slab - slabs_);
  const std::uint64_t granules = kSizeClasses[slab.size_class].granules;
  std::scoped_lock lock(mu_);
  for (std::uint64_t g = first; g < first + granules; ++g) {
    shapes_[g].store(Shape::kFree, std::memory_order_relaxed);
  }
  for (unsigned w = 0; w <= slab.last_word; ++w) slab.words[w].free.store(0, std::memory_order_relaxed);
  slab.nonempty = 0;
  slab.owner.store(unowned_, std::memory_order_release);
  runs_.give_back({first, granules}, tick_);
}

// A slab comes here when a thread that freed its last object was late to tell its owner.
void Heap::drain_unowned() {
  Slab* slab = unowned_->inbox_.exchange(nullptr, std::memory_order_acquire);
  while (slab != nullptr) {
    Slab* const next = slab->next_pending;
    ThreadCache* const owner = slab->owner.load(std::memory_order_relaxed);
    if (owner != unowned_) {
      owner->push_pending(*slab);
    } else {
      slab->remote_pending.exchange(0);
    }
    slab = next;
  }
}

std::optional<std::uint64_t> Heap::take_run(std::uint64_t granules) {
  {
    std::scoped_lock lock(mu_);
    if (const auto first = runs_.take(granules); first) return first;
  }
  drain_idle(kMaxThreads);
  std::scoped_lock lock(mu_);
  return runs_.take(granules);
}

void* Heap::allocate_large(std::size_t bytes) {
  if (bytes > layout_.slice_bytes) return nullptr;
  const std::uint64_t granules = (bytes + kGranuleBytes - 1) / kGranuleBytes;
  const auto first = take_run(granules);
  if (!first) return nullptr;
  shapes_[*first].store(Shape::large(granules).word, std::memory_order_release);
  for (std::uint64_t back = 1; back < granules; ++back) {
    shapes_[*first + back].store(Shape::inside_large(back).word, std::memory_order_relaxed);
  }
  return reinterpret_cast<void*>(slice_start_ + *first * kGranuleBytes);
}

FreeError Heap::free_large(std::uint64_t granule) {
  std::scoped_lock lock(mu_);
  const Shape shape = shape_at(granule);
  if (shape.kind() != Shape::kLarge) return FreeError::kDoubleFree;  // another thread was faster
  for (std::uint64_t g = granule; g < granule + shape.granules(); ++g) {
    shapes_[g].store(Shape::kFree, std::memory_order_relaxed);
  }
  runs_.give_back({granule, shape.granules()}, tick_);
  return FreeError::kNone;
}

FreeError Heap::free_shared(Slab& slab, unsigned size_class, std::uint64_t delta) {
  const SizeClass& info = kSizeClasses[size_class];
  const std::uint64_t index = object_at(info, delta);
  if (index == info.objects) return FreeError::kInsideObject;
  FreeWord& word = slab.words[index / 64];
  if ((word.free.load(std::memory_order_relaxed) & bit(index % 64)) != 0) return FreeError::kDoubleFree;
  if ((word.remote.fetch_or(bit(index % 64)) & bit(index % 64)) != 0) return FreeError::kDoubleFree;
  const std::uint64_t pending = bit(index / 64);
  if ((slab.remote_pending.load() & pending) != 0) return FreeError::kNone;
  if (slab.remote_pending.fetch_or(pending) == 0) slab.owner.load(std::memory_order_acquire)->push_pending(slab);
  return FreeError::kNone;
}

FreeError Heap::free_local(std::uint64_t address) {
  const std::uint64_t granule = (address - slice_start_) / kGranuleBytes;
  const Shape shape{shapes_[granule].load(std::memory_order_acquire)};
  if (shape.is_slab()) {
    Slab& slab = slabs_[granule - shape.back()];
    return free_shared(slab, shape.size_class(), address - start_of(slab));
  }
  if (shape.kind() == Shape::kFree) {
    std::scoped_lock lock(mu_);
    return runs_.warm(granule) ? FreeError::kDoubleFree : FreeError::kNotAllocated;
  }
  const bool at_start = shape.kind() == Shape::kLarge && (address - slice_start_) % kGranuleBytes == 0;
  return at_start ? free_large(granule) : FreeError::kInsideObject;
}

void Heap::remote_freed(NodeId from, std::span<const std::uint64_t> addresses) {
  remote_messages_received_.fetch_add(1, std::memory_order_relaxed);
  remote_frees_received_.fetch_add(addresses.size(), std::memory_order_relaxed);
  for (const std::uint64_t address : addresses) {
    const bool ours = address - slice_start_ < layout_.slice_bytes;
    const FreeError error = ours ? free_local(address) : FreeError::kForeign;
    if (error == FreeError::kNone) [[likely]]
      continue;
    BadFree bad = describe(error, reinterpret_cast<void*>(address));
    bad.freed_by = from;
    host_.bad_free(bad);
  }
}

std::size_t Heap::usable_size(const void* pointer) const {
  const std::uint64_t offset = reinterpret_cast<std::uint64_t>(pointer) - slice_start_;
  if (offset >= layout_.slice_bytes) return 0;
  const std::uint64_t granule = offset / kGranuleBytes;
  const Shape shape{shapes_[granule].load(std::memory_order_acquire)};
  if (shape.kind() == Shape::kLarge) return offset % kGranuleBytes == 0 ? shape.granules() * kGranuleBytes : 0;
  if (!shape.is_slab()) return 0;
  const SizeClass& info = kSizeClasses[shape.size_class()];
  const std::uint64_t index = object_at(info, offset - (granule - shape.back()) * kGranuleBytes);
  if (index == info.objects) return 0;
  const FreeWord& word = slabs_[granule - shape.back()].words[index / 64];
  const std::uint64_t free = word.free.load(std::memory_order_relaxed) | word.remote.load(std::memory_order_relaxed);
  return (free & bit(index % 64)) == 0 ? info.bytes : 0;
}

BadFree Heap::describe(FreeError error, const void* pointer) const {
  BadFree bad{.error = error, .address = reinterpret_cast<std::uint64_t>(pointer), .freed_by = layout_.self};
  if (!layout_.contains(bad.address)) return bad;
  bad.owner = layout_.owner_of(bad.address);
  if (bad.owner != layout_.self) return bad;
  std::uint64_t granule = (bad.address - slice_start_) / kGranuleBytes;
  Shape shape = shape_at(granule);
  if (shape.kind() == Shape::kInsideLarge) shape = shape_at(granule - shape.back());
  if (shape.kind() == Shape::kLarge) bad.object_bytes = shape.granules() * kGranuleBytes;
  if (shape.is_slab()) bad.object_bytes = kSizeClasses[shape.size_class()].bytes;
  return bad;
}

std::vector<ThreadCache*> Heap::all_caches() {
  std::scoped_lock lock(mu_);
  return caches_;
}

void Heap::flush() {
  for (ThreadCache* cache : all_caches()) cache->flush();
}

void Heap::drain_idle(std::size_t most_caches) {
  {
    std::scoped_lock lock(mu_);
    most_caches = std::min(most_caches, idle_.size());
  }
  for (; most_caches != 0; --most_caches) {
    ThreadCache* const idle = borrow_idle();
    if (idle == nullptr) return;
    idle->drain_inbox();
    return_idle(*idle);
  }
}

void Heap::tick() {
  flush();
  drain_idle(kIdleCachesPerVisit);
  {
    std::scoped_lock lock(mu_);
    ++tick_;
    drain_unowned();
  }
  purge();
}

void Heap::purge() {
  for (unsigned runs = 0; runs < kPurgeRunsPerTick; ++runs) {
    std::optional<Run> run;
    {
      std::scoped_lock lock(mu_);
      if (tick_ >= kPurgeTicks) run = runs_.take_stale(tick_ - kPurgeTicks);
    }
    if (!run) return;
    // The run counts as used here, so that nobody gets it before its frames are gone; and nobody else changes its bits.
    std::uint64_t released = 0;
    const auto next_stretch = [&](std::uint64_t from) {
      std::scoped_lock lock(mu_);
      return runs_.warm_stretch(*run, from);
    };
    for (auto warm = next_stretch(run->first); warm; warm = next_stretch(warm->first + warm->granules)) {
      host_.release_pages(slice_start_ + warm->first * kGranuleBytes, warm->granules * kGranuleBytes);
      released += warm->granules * kGranuleBytes;
    }
    std::scoped_lock lock(mu_);
    runs_.give_back_cold(*run);
    released_bytes_ += released;
  }
}

}  // namespace gallocy::heap
