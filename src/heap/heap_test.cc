#include "heap/heap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "base/prng.h"
#include "heap/testing/fake_node.h"

namespace gallocy::heap {
namespace {

using testing::address_of;
using testing::FakeNode;
using testing::pointer_to;

class HeapTest : public ::testing::Test {
 protected:
  FakeNode node_;
  Heap& heap_ = node_.heap();
  ThreadCache& cache_ = *heap_.attach_thread();

  void expect_bad(FreeError error, const void* pointer, std::uint64_t object_bytes) {
    const auto bad = node_.take_bad_frees();
    ASSERT_EQ(bad.size(), 1u);
    EXPECT_EQ(bad[0].error, error) << to_string(bad[0]);
    EXPECT_EQ(bad[0].address, address_of(pointer));
    EXPECT_EQ(bad[0].object_bytes, object_bytes);
  }
};

TEST_F(HeapTest, layouts_that_make_no_sense_are_refused) {
  testing::MappedMemory memory;
  for (const Layout& layout :
       {Layout{.start = 4096, .slice_bytes = kMinSliceBytes}, Layout{.start = 0, .slice_bytes = kMinSliceBytes - 1},
        Layout{.start = 0, .slice_bytes = kMinSliceBytes / 2},
        Layout{.start = 0, .slice_bytes = kMinSliceBytes, .nodes = 2, .self = NodeId{2}}}) {
    const auto heap = Heap::create(layout, memory, node_);
    ASSERT_FALSE(heap.has_value());
    EXPECT_EQ(heap.error().code, ErrorCode::kInvalidArgument);
  }
}

TEST_F(HeapTest, no_private_memory_is_an_error) {
  class None final : public PrivateMemory {
    void* reserve(std::size_t) override { return nullptr; }
  } none;
  const auto heap = Heap::create(heap_.layout(), none, node_);
  ASSERT_FALSE(heap.has_value());
  EXPECT_EQ(heap.error().code, ErrorCode::kOutOfMemory);
}

// Live objects by address, as the naive twin of the heap.
class Twin {
 public:
  void add(std::uint64_t start, std::uint64_t bytes) {
    const auto next = live_.lower_bound(start);
    ASSERT_TRUE(next == live_.end() || start + bytes <= next->first);
    ASSERT_TRUE(next == live_.begin() || std::prev(next)->first + std::prev(next)->second <= start);
    live_[start] = bytes;
  }
  bool empty() const { return live_.empty(); }
  std::size_t size() const { return live_.size(); }
  std::uint64_t take(std::uint64_t at) {
    const auto item = std::next(live_.begin(), static_cast<long>(at));
    const std::uint64_t start = item->first;
    live_.erase(item);
    return start;
  }

 private:
  std::map<std::uint64_t, std::uint64_t> live_;
};

std::size_t random_size(Prng& random) {
  switch (random.below(8)) {
    case 0:
      return random.below(kMaxClassBytes + 1);
    case 1:
      return random.below(4 * kMaxClassBytes);
    case 2:
      return random.below(16);
    default:
      return random.below(2048);
  }
}

TEST_F(HeapTest, live_objects_never_overlap_and_are_aligned) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    Prng random(seed);
    Twin twin;
    for (int step = 0; step < 30'000; ++step) {
      const bool grow = (step / 3000) % 2 == 0;  // waves, so that slabs fill and empty
      if (twin.empty() || random.below(10) < (grow ? 7u : 3u)) {
        const std::size_t bytes = random_size(random);
        const std::size_t alignment = random.one_in(3) ? std::size_t{1} << random.below(13) : 16;
        void* const object = cache_.allocate(bytes, alignment);
        ASSERT_NE(object, nullptr);
        ASSERT_EQ(address_of(object) % std::max<std::size_t>(alignment, 16), 0u);
        ASSERT_GE(heap_.usable_size(object), bytes);
        ASSERT_NO_FATAL_FAILURE(twin.add(address_of(object), heap_.usable_size(object)));
      } else {
        cache_.deallocate(pointer_to(twin.take(random.below(twin.size()))));
      }
      if (step % 4000 == 0) heap_.check_invariants();
      if (step % 1000 == 0) heap_.tick();
    }
    EXPECT_EQ(heap_.statistics().allocated_objects, twin.size());
    while (!twin.empty()) cache_.deallocate(pointer_to(twin.take(0)));
    heap_.check_invariants();
    EXPECT_EQ(heap_.statistics().allocated_bytes, 0u);
  }
  EXPECT_TRUE(node_.take_bad_frees().empty());
}

TEST_F(HeapTest, freed_object_is_used_again) {
  void* const object = cache_.allocate(100);
  cache_.deallocate(object);
  EXPECT_EQ(cache_.allocate(100), object);
}

TEST_F(HeapTest, null_is_freed_without_effect) {
  cache_.deallocate(nullptr);
  EXPECT_TRUE(node_.take_bad_frees().empty());
}

TEST_F(HeapTest, alignment_must_be_a_power_of_two_up_to_a_page) {
  for (const std::size_t alignment : {0u, 3u, 24u, 8192u}) EXPECT_EQ(cache_.allocate(10, alignment), nullptr);
  for (std::size_t alignment = 1; alignment <= kMaxAlignment; alignment *= 2) {
    for (const std::size_t bytes : {0u, 1u, 100u, 5000u, 40'000u, 130'000u, 200'000u}) {
      void* const object = cache_.allocate(bytes, alignment);
      ASSERT_NE(object, nullptr);
      EXPECT_EQ(address_of(object) % alignment, 0u);
    }
  }
}

TEST_F(HeapTest, impossible_sizes_give_null) {
  EXPECT_EQ(cache_.allocate(~std::size_t{0}), nullptr);
  EXPECT_EQ(cache_.allocate(~std::size_t{0} - 4000, 4096), nullptr);
  EXPECT_EQ(cache_.allocate(kMinSliceBytes + 1), nullptr);
}

TEST_F(HeapTest, whole_slice_can_be_one_object) {
  void* const all = cache_.allocate(kMinSliceBytes);
  ASSERT_EQ(address_of(all), FakeNode::kStart);
  EXPECT_EQ(heap_.usable_size(all), kMinSliceBytes);
  EXPECT_EQ(cache_.allocate(1), nullptr);
  cache_.deallocate(all);
  EXPECT_NE(cache_.allocate(1), nullptr);
  heap_.check_invariants();
}

TEST_F(HeapTest, full_slice_gives_null_and_recovers) {
  std::vector<void*> objects;
  while (void* object = cache_.allocate(100'000)) objects.push_back(object);
  EXPECT_GT(objects.size(), kMinSliceBytes / 131'072);
  EXPECT_EQ(cache_.allocate(90'000), nullptr);
  heap_.check_invariants();
  for (void* object : objects) cache_.deallocate(object);
  heap_.check_invariants();
  EXPECT_EQ(heap_.statistics().allocated_objects, 0u);
  EXPECT_NE(cache_.allocate(kMinSliceBytes / 2), nullptr);
}

TEST_F(HeapTest, single_free_granule_still_serves_classes_whose_slabs_are_larger) {
  ASSERT_NE(cache_.allocate(kMinSliceBytes - kGranuleBytes), nullptr);
  void* const object = cache_.allocate(60'000);
  ASSERT_NE(object, nullptr);
  EXPECT_EQ(cache_.allocate(60'000), nullptr);
  cache_.deallocate(object);
  EXPECT_EQ(cache_.allocate(60'000), object);
}

TEST_F(HeapTest, double_free_is_named) {
  for (const std::size_t bytes : {48u, 5000u, 100'000u}) {
    void* const keep = cache_.allocate(bytes);
    void* const object = cache_.allocate(bytes);
    const std::size_t object_bytes = heap_.usable_size(object);
    cache_.deallocate(object);
    EXPECT_EQ(heap_.usable_size(object), 0u);
    cache_.deallocate(object);
    expect_bad(FreeError::kDoubleFree, object, object_bytes);
    cache_.deallocate(keep);
  }
  void* const large = cache_.allocate(1 << 20);
  cache_.deallocate(large);
  cache_.deallocate(large);
  expect_bad(FreeError::kDoubleFree, large, 0);
  heap_.check_invariants();
}

TEST_F(HeapTest, double_free_after_the_slab_was_given_back_is_named) {
  std::vector<void*> objects(8 * 3);
  for (void*& object : objects) object = cache_.allocate(kMaxClassBytes);
  for (void* object : objects) cache_.deallocate(object);
  cache_.deallocate(objects[0]);
  EXPECT_EQ(node_.take_bad_frees().at(0).error, FreeError::kDoubleFree);
}

TEST_F(HeapTest, pointer_inside_an_object_is_named) {
  for (const std::size_t bytes : {48u, 100u, 5000u, 100'000u, 1'000'000u}) {
    auto* const object = static_cast<char*>(cache_.allocate(bytes));
    const std::size_t object_bytes = heap_.usable_size(object);
    for (const std::size_t delta : {std::size_t{1}, std::size_t{16}, bytes - 1}) {
      if (delta % object_bytes == 0) continue;
      cache_.deallocate(object + delta);
      expect_bad(FreeError::kInsideObject, object + delta, object_bytes);
      EXPECT_EQ(heap_.usable_size(object + delta), 0u);
    }
    cache_.deallocate(object);
    EXPECT_TRUE(node_.take_bad_frees().empty());
  }
}

TEST_F(HeapTest, never_allocated_and_foreign_pointers_are_named) {
  void* const fresh = pointer_to(FakeNode::kStart + (1 << 30));
  cache_.deallocate(fresh);
  expect_bad(FreeError::kNotAllocated, fresh, 0);
  int local = 0;
  for (void* foreign : {static_cast<void*>(&local), pointer_to(FakeNode::kStart - 16),
                        pointer_to(FakeNode::kStart + kMinSliceBytes), pointer_to(16)}) {
    cache_.deallocate(foreign);
    expect_bad(FreeError::kForeign, foreign, 0);
    EXPECT_EQ(heap_.usable_size(foreign), 0u);
  }
}

TEST_F(HeapTest, report_names_pointer_size_class_and_owner) {
  void* const object = cache_.allocate(100);
  cache_.deallocate(object);
  cache_.deallocate(object);
  const auto bad = node_.take_bad_frees();
  ASSERT_EQ(bad.size(), 1u);
  EXPECT_EQ(to_string(bad[0]), fmt::format("double free: {:#x}, object of 112 bytes, memory of node 0, freed by node 0",
                                           address_of(object)));
}

TEST_F(HeapTest, slots_behind_the_last_object_of_a_slab_are_no_objects) {
  void* const object = cache_.allocate(48);  // 1365 objects and 16 bytes
  const std::uint64_t start = address_of(object) / kGranuleBytes * kGranuleBytes;
  cache_.deallocate(pointer_to(start + std::uint64_t{1365} * 48));
  EXPECT_EQ(node_.take_bad_frees().at(0).error, FreeError::kInsideObject);
}

TEST_F(HeapTest, frames_of_memory_that_stays_free_are_released_once) {
  void* const large = cache_.allocate(1'000'000);
  const std::size_t bytes = heap_.usable_size(large);
  cache_.deallocate(large);
  for (std::uint64_t t = 1; t < kPurgeTicks; ++t) heap_.tick();
  EXPECT_TRUE(node_.take_releases().empty());
  heap_.tick();
  const auto released = node_.take_releases();
  ASSERT_EQ(released.size(), 1u);
  EXPECT_EQ(released[0].start, address_of(large));
  EXPECT_EQ(released[0].bytes, bytes);
  for (std::uint64_t t = 0; t < 3 * kPurgeTicks; ++t) heap_.tick();
  EXPECT_TRUE(node_.take_releases().empty());
  EXPECT_EQ(heap_.statistics().released_bytes, bytes);
  heap_.check_invariants();
}

TEST_F(HeapTest, released_pages_are_never_those_of_live_objects) {
  Prng random(11);
  std::map<std::uint64_t, std::uint64_t> live;
  for (int step = 0; step < 5000; ++step) {
    if (random.one_in(2) || live.empty()) {
      void* const object = cache_.allocate(random_size(random));
      live[address_of(object)] = heap_.usable_size(object);
    } else {
      const auto item = std::next(live.begin(), static_cast<long>(random.below(live.size())));
      cache_.deallocate(pointer_to(item->first));
      live.erase(item);
    }
    heap_.tick();
    for (const auto& release : node_.take_releases()) {
      const auto next = live.lower_bound(release.start);
      ASSERT_TRUE(next == live.end() || release.start + release.bytes <= next->first);
      ASSERT_TRUE(next == live.begin() || std::prev(next)->first + std::prev(next)->second <= release.start);
    }
  }
  heap_.check_invariants();
}

TEST_F(HeapTest, statistics_count_objects_and_slabs) {
  void* const a = cache_.allocate(100);
  cache_.allocate(100);
  cache_.allocate(1'000'000);
  cache_.deallocate(a);
  const Statistics s = heap_.statistics();
  EXPECT_EQ(s.allocated_objects, 2u);
  EXPECT_EQ(s.slabs[class_of(100)], 1u);
  EXPECT_EQ(s.slab_bytes, kGranuleBytes);
  EXPECT_EQ(s.large_objects, 1u);
  EXPECT_EQ(s.large_bytes, 16 * kGranuleBytes);
  EXPECT_EQ(s.allocated_bytes, 112 + s.large_bytes);
  EXPECT_EQ(s.free_bytes, kMinSliceBytes - 17 * kGranuleBytes);
  EXPECT_EQ(s.threads, 1u);
}

}  // namespace
}  // namespace gallocy::heap
