// Looking at the whole heap: statistics and the check of its invariants.
#include <bit>

#include "base/check.h"
#include "heap/heap.h"

namespace gallocy::heap {

std::uint64_t Heap::live_objects(std::uint64_t granule, unsigned size_class) const {
  const SizeClass& info = kSizeClasses[size_class];
  std::uint64_t free = 0;
  for (unsigned w = 0; w <= (info.objects - 1) / 64; ++w) {
    const FreeWord& word = slabs_[granule].words[w];
    free += static_cast<unsigned>(
        std::popcount(word.free.load(std::memory_order_relaxed) | word.remote.load(std::memory_order_relaxed)));
  }
  return info.objects - free;
}

Statistics Heap::statistics() {
  Statistics s;
  s.remote_frees_received = remote_frees_received_.load(std::memory_order_relaxed);
  s.remote_messages_received = remote_messages_received_.load(std::memory_order_relaxed);
  std::scoped_lock lock(mu_);
  for (const ThreadCache* cache : caches_) {
    s.remote_frees_sent += cache->remote_frees_sent_.load(std::memory_order_relaxed);
    s.remote_messages_sent += cache->remote_messages_sent_.load(std::memory_order_relaxed);
  }
  for (std::uint64_t g = 0; g < runs_.high_water(); ++g) {
    const Shape shape = shape_at(g);
    if (shape.is_slab() && shape.back() == 0) {
      const SizeClass& info = kSizeClasses[shape.size_class()];
      const std::uint64_t live = live_objects(g, shape.size_class());
      ++s.slabs[shape.size_class()];
      s.slab_bytes += info.granules * kGranuleBytes;
      s.allocated_objects += live;
      s.allocated_bytes += live * info.bytes;
    } else if (shape.kind() == Shape::kLarge) {
      ++s.large_objects;
      ++s.allocated_objects;
      s.large_bytes += shape.granules() * kGranuleBytes;
      s.allocated_bytes += shape.granules() * kGranuleBytes;
    }
  }
  s.free_bytes = runs_.free_granules() * kGranuleBytes;
  s.released_bytes = released_bytes_;
  s.threads = caches_.size() - idle_.size();
  s.idle_threads = idle_.size();
  return s;
}

void Heap::check_slab(std::uint64_t granule, unsigned size_class) {
  const Slab& slab = slabs_[granule];
  const SizeClass& info = kSizeClasses[size_class];
  const ThreadCache* const owner = slab.owner.load();
  CHECK(owner != nullptr && owner != unowned_, granule);
  CHECK(slab.size_class == size_class && slab.objects == info.objects && slab.object_bytes == info.bytes, granule);
  const ThreadCache::Bin& bin = owner->bins_[size_class];
  const bool current = bin.slab == &slab;
  for (unsigned w = 0; w < 64; ++w) {
    const std::uint64_t free = slab.words[w].free.load(), remote = slab.words[w].remote.load();
    const std::uint64_t mask = w <= slab.last_word ? slab.mask_of(w) : 0;
    const bool nonempty = (slab.nonempty >> w & 1) != 0;
    if (w <= slab.last_word) CHECK((free & remote) == 0 && ((free | remote) & ~mask) == 0, granule, w, free, remote);
    CHECK(nonempty == (w <= slab.last_word && free != 0) || (current && bin.word == &slab.words[w]), granule, w, free);
    CHECK(w > slab.last_word || remote == 0 || (slab.remote_pending.load() >> w & 1) != 0, granule, w);
  }
  CHECK(!(current && slab.listed != 0), granule);
  CHECK(current || (slab.listed != 0) == (slab.nonempty != 0), granule);
  const std::uint32_t allocated = slab.objects - slab.free_objects();
  CHECK(current || allocated != 0, granule);
  CHECK(current ? slab.countdown > slab.objects : slab.countdown == (slab.listed != 0 ? allocated : 1), granule,
        allocated);
}

void Heap::check_invariants() {
  std::scoped_lock lock(mu_);
  runs_.check_invariants();
  std::uint64_t listed = 0, in_lists = 0;
  for (std::uint64_t g = 0; g < layout_.granules();) {
    const Shape shape = shape_at(g);
    std::uint64_t granules = runs_.free_run_at(g);
    if (granules != 0) {
      for (std::uint64_t i = g; i < std::min(g + granules, runs_.high_water()); ++i) {
        CHECK(shape_at(i).kind() == Shape::kFree, i);
      }
    } else if (shape.is_slab()) {
      granules = kSizeClasses[shape.size_class()].granules;
      for (std::uint64_t i = 0; i < granules; ++i) {
        CHECK(shape_at(g + i).word == Shape::slab(shape.size_class(), i).word, g, i);
      }
      check_slab(g, shape.size_class());
      listed += slabs_[g].listed;
    } else {
      CHECK(shape.kind() == Shape::kLarge, g, shape.word);
      granules = shape.granules();
      for (std::uint64_t i = 1; i < granules; ++i) {
        CHECK(shape_at(g + i).word == Shape::inside_large(i).word, g, i);
      }
    }
    g += granules;
  }
  for (const ThreadCache* cache : caches_) {
    for (unsigned c = 0; c < kClassCount; ++c) {
      for (const Slab* slab = cache->listed_[c].first; slab != nullptr; slab = slab->next) {
        CHECK(slab->owner.load() == cache && slab->size_class == c && slab->listed != 0, c);
        ++in_lists;
      }
    }
  }
  CHECK(listed == in_lists, listed, in_lists);
}

}  // namespace gallocy::heap
