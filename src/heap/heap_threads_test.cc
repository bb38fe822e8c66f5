#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <set>
#include <thread>
#include <vector>

#include "base/prng.h"
#include "heap/testing/fake_node.h"

namespace gallocy::heap {
namespace {

using testing::address_of;
using testing::FakeNode;
using testing::pointer_to;

class HeapThreadsTest : public ::testing::Test {
 protected:
  FakeNode node_;
  Heap& heap_ = node_.heap();

  // Runs f(cache, i) on `count` threads at once, each with a cache of its own.
  template <typename Function>
  void on_threads(unsigned count, Function f) {
    std::barrier start(count);
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < count; ++i) {
      threads.emplace_back([&, i] {
        ThreadCache* const cache = heap_.attach_thread();
        start.arrive_and_wait();
        f(*cache, i);
        heap_.detach_thread(*cache);
      });
    }
  }
  void expect_all_free() {
    for (int visit = 0; visit < 100 && heap_.statistics().slab_bytes != 0; ++visit) heap_.tick();
    heap_.check_invariants();
    EXPECT_EQ(heap_.statistics().allocated_objects, 0u);
    EXPECT_EQ(heap_.statistics().free_bytes, kMinSliceBytes);
    EXPECT_TRUE(node_.take_bad_frees().empty());
  }
};

TEST_F(HeapThreadsTest, object_freed_by_another_thread_is_used_again_by_its_owner) {
  ThreadCache& mine = *heap_.attach_thread();
  std::set<void*> objects;
  while (objects.size() < 8) objects.insert(mine.allocate(8192));
  std::jthread([&] {
    ThreadCache& other = *heap_.attach_thread();
    for (void* object : objects) other.deallocate(object);
    heap_.detach_thread(other);
  }).join();
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(objects.contains(mine.allocate(8192)));
}

TEST_F(HeapThreadsTest, threads_that_come_after_take_over_caches_and_slabs) {
  void* kept = nullptr;
  on_threads(1, [&](ThreadCache& cache, unsigned) { kept = cache.allocate(64); });
  on_threads(1, [&](ThreadCache& cache, unsigned) {
    EXPECT_EQ(address_of(cache.allocate(64)) / kGranuleBytes, address_of(kept) / kGranuleBytes);
  });
  EXPECT_EQ(heap_.statistics().idle_threads, 1u);
}

TEST_F(HeapThreadsTest, running_thread_adopts_slabs_of_exited_ones) {
  ThreadCache& mine = *heap_.attach_thread();
  void* kept = nullptr;
  on_threads(1, [&](ThreadCache& cache, unsigned) { kept = cache.allocate(64); });
  EXPECT_EQ(address_of(mine.allocate(64)) / kGranuleBytes, address_of(kept) / kGranuleBytes);
  mine.deallocate(kept);
  heap_.check_invariants();
  EXPECT_TRUE(node_.take_bad_frees().empty());
}

TEST_F(HeapThreadsTest, empty_slabs_of_exited_threads_are_given_back_at_ticks) {
  ThreadCache& mine = *heap_.attach_thread();
  std::vector<void*> objects;
  on_threads(1, [&](ThreadCache& cache, unsigned) {
    for (int i = 0; i < 10'000; ++i) objects.push_back(cache.allocate(300));
  });
  for (void* object : objects) mine.deallocate(object);
  heap_.detach_thread(mine);
  expect_all_free();
}

TEST_F(HeapThreadsTest, full_slice_finds_the_memory_of_exited_threads) {
  ThreadCache& mine = *heap_.attach_thread();
  std::vector<void*> objects;
  on_threads(3, [&](ThreadCache& cache, unsigned i) {
    static std::mutex mu;
    std::vector<void*> own;
    while (void* object = cache.allocate(100'000 + i * 10'000)) own.push_back(object);
    std::scoped_lock lock(mu);
    objects.insert(objects.end(), own.begin(), own.end());
  });
  for (void* object : objects) mine.deallocate(object);  // they wait in inboxes that nobody reads
  EXPECT_NE(mine.allocate(kMinSliceBytes / 2), nullptr);
}

TEST_F(HeapThreadsTest, objects_passed_between_threads_never_overlap) {
  constexpr unsigned kThreads = 4, kRepeats = 60;
  for (std::uint64_t repeat = 0; repeat < kRepeats; ++repeat) {
    // Each slot owns an object and its first byte's granule mark; an object handed out twice shows as a mark already
    // set.
    std::vector<std::atomic<void*>> table(64);
    std::vector<std::atomic<std::uint8_t>> marks((std::uint64_t{64} << 20) / kQuantumBytes);
    const auto mark = [&](void* object) -> std::atomic<std::uint8_t>& {
      return marks[(address_of(object) - FakeNode::kStart) / kQuantumBytes % marks.size()];
    };
    on_threads(kThreads, [&](ThreadCache& cache, unsigned i) {
      Prng random(repeat * kThreads + i);
      const auto release = [&](void* object) {
        if (object == nullptr) return;
        ASSERT_EQ(mark(object).exchange(0), 1);
        cache.deallocate(object);
      };
      for (int step = 0; step < 2000; ++step) {
        void* object = cache.allocate(1 + random.below(random.one_in(10) ? 20'000 : 300));
        ASSERT_EQ(mark(object).exchange(1), 0);
        release(table[random.below(table.size())].exchange(object));
      }
      if (i == 0) heap_.tick();
    });
    on_threads(1, [&](ThreadCache& cache, unsigned) {
      for (auto& slot : table) {
        if (void* object = slot.exchange(nullptr)) cache.deallocate(object);
      }
    });
    ASSERT_NO_FATAL_FAILURE(expect_all_free());
  }
}

TEST_F(HeapThreadsTest, caches_change_hands_while_others_free) {
  constexpr unsigned kThreads = 4;
  std::vector<std::atomic<void*>> table(32);
  std::atomic<bool> stop = false;
  std::jthread ticker([&] {
    while (!stop) {
      heap_.tick();
      std::this_thread::yield();
    }
  });
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      Prng random(i);
      for (int life = 0; life < 300; ++life) {
        ThreadCache* const cache = heap_.attach_thread();
        for (int step = 0; step < 50; ++step) {
          cache->deallocate(table[random.below(table.size())].exchange(cache->allocate(random.below(10'000))));
        }
        heap_.detach_thread(*cache);
      }
    });
  }
  for (std::jthread& thread : threads) thread.join();
  stop = true;
  ticker.join();
  on_threads(1, [&](ThreadCache& cache, unsigned) {
    for (auto& slot : table) cache.deallocate(slot.exchange(nullptr));
  });
  expect_all_free();
}

TEST_F(HeapThreadsTest, object_freed_by_two_threads_at_once_is_freed_once) {
  ThreadCache& mine = *heap_.attach_thread();
  for (int repeat = 0; repeat < 300; ++repeat) {
    for (const std::size_t bytes : {64u, 500'000u}) {
      void* const object = mine.allocate(bytes);
      on_threads(2, [&](ThreadCache& cache, unsigned) { cache.deallocate(object); });
      const auto bad = node_.take_bad_frees();
      ASSERT_EQ(bad.size(), 1u);
      EXPECT_EQ(bad[0].error, FreeError::kDoubleFree);
      EXPECT_EQ(heap_.statistics().allocated_objects, 0u);
    }
  }
}

TEST_F(HeapThreadsTest, owner_and_another_thread_freeing_at_once_are_found_out) {
  // With the race lost on both sides it comes out when the owner collects.
  for (int repeat = 0; repeat < 300; ++repeat) {
    std::atomic<void*> object = nullptr;
    std::barrier met(2);
    on_threads(2, [&](ThreadCache& cache, unsigned i) {
      std::vector<void*> others;
      if (i == 0) {
        object = cache.allocate(8192);
        for (int k = 0; k < 7; ++k) others.push_back(cache.allocate(8192));
      }
      met.arrive_and_wait();
      cache.deallocate(object);
      met.arrive_and_wait();
      for (void* other : others) cache.deallocate(other);
    });
    for (int visit = 0; visit < 10; ++visit) heap_.tick();
    ASSERT_EQ(node_.take_bad_frees().size(), 1u);
  }
}

TEST_F(HeapThreadsTest, tick_and_flush_may_run_beside_remote_frees) {
  FakeNode first(2, NodeId{0}), second(2, NodeId{1});
  ThreadCache& theirs = *second.heap().attach_thread();
  std::vector<void*> objects(20'000);
  for (void*& object : objects) object = theirs.allocate(32);
  std::atomic<unsigned> running = 2;
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      ThreadCache& cache = *first.heap().attach_thread();
      for (std::size_t k = i; k < objects.size(); k += 2) cache.deallocate(objects[k]);
      first.heap().detach_thread(cache);
      --running;
    });
  }
  while (running != 0) first.heap().flush();
  for (const auto& message : first.take_messages()) second.heap().remote_freed(NodeId{0}, message.addresses);
  EXPECT_EQ(second.heap().statistics().allocated_objects, 0u);
  EXPECT_EQ(first.heap().statistics().remote_frees_sent, objects.size());
  EXPECT_TRUE(second.take_bad_frees().empty());
}

}  // namespace
}  // namespace gallocy::heap
