#include "base/slot_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <thread>
#include <vector>

namespace gallocy {
namespace {

constexpr std::size_t kBytes = 4112;

TEST(SlotPool, gives_slots_that_do_not_overlap) {
  SlotPool pool(kBytes);
  std::set<std::byte*> slots;
  for (int i = 0; i < 2000; ++i) {  // of several chunks
    auto* const slot = static_cast<std::byte*>(pool.take());
    std::memset(slot, i, kBytes);
    EXPECT_TRUE(slots.insert(slot).second);
  }
  const std::byte* before = nullptr;
  for (const std::byte* const slot : slots) {
    EXPECT_TRUE(before == nullptr || slot - before >= static_cast<std::ptrdiff_t>(kBytes));
    EXPECT_EQ(slot[0], slot[kBytes - 1]);
    before = slot;
  }
}

TEST(SlotPool, gives_again_what_was_given_back) {
  SlotPool pool(kBytes);
  void* const first = pool.take();
  void* const second = pool.take();
  pool.give_back(first);
  pool.give_back(second);
  EXPECT_EQ(pool.in_use(), 0u);
  EXPECT_EQ(pool.take(), second);
  EXPECT_EQ(pool.take(), first);
  EXPECT_EQ(pool.in_use(), 2u);
}

TEST(SlotPool, serves_many_threads) {
  SlotPool pool(64);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&pool, t] {
      std::vector<unsigned char*> mine;
      for (int i = 0; i < 20'000; ++i) {
        mine.push_back(static_cast<unsigned char*>(pool.take()));
        std::memset(mine.back(), t, 64);
        if (i % 3 != 2) continue;
        ASSERT_EQ(mine.front()[63], t);
        pool.give_back(mine.front());
        mine.front() = mine.back();
        mine.pop_back();
      }
      for (unsigned char* const slot : mine) {
        ASSERT_EQ(slot[0], t);
        pool.give_back(slot);
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace gallocy
