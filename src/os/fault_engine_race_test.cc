// Each engine with many program threads faulting while another thread takes pages away.
#include <sys/mman.h>

#include <thread>

#include "base/prng.h"
#include "os/clock.h"
#include "os/fault_engine_testing.h"

namespace gallocy::os {
namespace {

#if defined(GALLOCY_SANITIZE_ADDRESS) || defined(GALLOCY_SANITIZE_THREAD)
constexpr int kRounds = 60;
#else
constexpr int kRounds = 500;
#endif
constexpr unsigned kThreads = 8;

using FaultEngineRaceTest = EngineTest;
ON_EVERY_ENGINE(FaultEngineRaceTest);

// Runs step(thread index, i) for i = 0, 1, … on kThreads threads, and disturb(round) kRounds times meanwhile, each time
// after some more steps were done.
template <typename Step, typename Disturb>
void run(Step step, Disturb disturb) {
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> steps{0};
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (std::uint64_t i = 0; !stop; ++i) {
        step(thread, i);
        ++steps;
        if (i % 8 == 7) std::this_thread::yield();  // there are more threads than processors
      }
    });
  }
  const std::int64_t limit = monotonic_ns() + 60'000'000'000;
  for (std::uint64_t round = 0; round < kRounds; ++round) {
    const std::uint64_t enough = steps + 20;
    while (steps < enough && monotonic_ns() < limit) std::this_thread::yield();
    EXPECT_GE(steps, enough) << "the program's threads do not go on after round " << round;
    if (steps < enough) break;
    disturb(round);
  }
  stop = true;
  for (auto& thread : threads) thread.join();
}

TEST_P(FaultEngineRaceTest, threads_faulting_on_one_page_at_once_all_go_on) {
  TestRegion region(GetParam(), 1);
  for (int round = 0; round < kRounds; ++round) {
    region.set(0, 1, Protection::kNone);
    region.behind(0).store(0);
    std::atomic<unsigned> ready{0};
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        ++ready;
        while (ready < kThreads) std::this_thread::yield();
        if (i % 2 == 0) region.word(0, 8 + i).load();
        region.word(0).fetch_add(1);
      });
    }
    for (auto& thread : threads) thread.join();
    ASSERT_EQ(region.behind(0).load(), kThreads);
  }
}

TEST_P(FaultEngineRaceTest, no_update_is_lost_while_one_page_is_taken_away) {
  TestRegion region(GetParam(), 1);
  std::atomic<std::uint64_t> updates{0};
  run(
      [&](unsigned thread, std::uint64_t) {
        region.word(0).fetch_add(1);
        region.word(0, 1 + thread).fetch_add(1);
        ++updates;
      },
      [&](std::uint64_t round) { region.set(0, 1, round % 3 == 0 ? Protection::kRead : Protection::kNone); });
  EXPECT_EQ(region.behind(0).load(), updates);
  std::uint64_t by_thread = 0;
  for (unsigned i = 0; i < kThreads; ++i) by_thread += region.behind(0, 1 + i).load();
  EXPECT_EQ(by_thread, updates);
}

TEST_P(FaultEngineRaceTest, no_update_is_lost_while_ranges_are_taken_away) {
  constexpr std::size_t kPages = 2 * kBlockPages;
  TestRegion region(GetParam(), kPages);
  std::atomic<std::uint64_t> updates{0};
  run(
      [&](unsigned thread, std::uint64_t i) {
        Prng chance(thread << 20 | i);
        const std::size_t page = chance.below(kPages);
        if (chance.one_in(3)) {
          region.word(page, 1 + chance.below(511)).load();
        } else {
          region.word(page).fetch_add(1);
          ++updates;
        }
      },
      [&](std::uint64_t round) {
        Prng chance(round);
        const std::size_t first = chance.below(kPages);
        const std::size_t count = 1 + chance.below(std::min(kBlockPages, kPages - first));
        constexpr Protection kTargets[] = {Protection::kNone, Protection::kRead, Protection::kReadWrite};
        region.set(first, count, kTargets[chance.below(3)]);
      });
  std::uint64_t in_pages = 0;
  for (std::size_t i = 0; i < kPages; ++i) in_pages += region.behind(i).load();
  EXPECT_EQ(in_pages, updates);
}

// The kernel takes entries away while threads write (as swapping does): nothing sleeps for ever, nothing is lost.
TEST_P(FaultEngineRaceTest, no_thread_is_stranded_by_lost_page_table_entries) {
  TestRegion region(GetParam(), 2);
  std::atomic<std::uint64_t> updates{0};
  run(
      [&](unsigned thread, std::uint64_t) {
        region.word(thread % 2).fetch_add(1);
        ++updates;
      },
      [&](std::uint64_t) { ASSERT_EQ(::madvise(region.page(0), 2 * kPageBytes, MADV_DONTNEED), 0); });
  EXPECT_EQ(region.behind(0).load() + region.behind(1).load(), updates);
}

// protect() returns only when no processor can write any more: what the runtime view shows then stays.
TEST_P(FaultEngineRaceTest, nobody_writes_after_a_downgrade_has_returned) {
  TestRegion region(GetParam(), 1);
  std::atomic<bool> stop{false};
  std::vector<std::thread> writers;
  for (unsigned i = 0; i < 2; ++i) {
    writers.emplace_back([&] {
      for (unsigned j = 0; !stop; ++j) {
        region.word(0).fetch_add(1);
        if (j % 8 == 7) std::this_thread::yield();
      }
    });
  }
  for (int round = 0; round < kRounds; ++round) {
    // A few updates between rounds, so that each downgrade meets running writers.
    const std::uint64_t before = region.behind(0).load();
    const std::int64_t limit = monotonic_ns() + 10'000'000'000;
    while (region.behind(0).load() < before + 10 && monotonic_ns() < limit) std::this_thread::yield();
    ASSERT_GE(region.behind(0).load(), before + 10);
    const Protection to = round % 2 == 0 ? Protection::kRead : Protection::kNone;
    region.set(0, 1, to, [&] {
      const std::uint64_t seen = region.behind(0).load();
      for (int i = 0; i < 20; ++i) {
        std::this_thread::yield();
        ASSERT_EQ(region.behind(0).load(), seen);
      }
    });
  }
  stop = true;
  for (auto& writer : writers) writer.join();
}

// A plain reader never sees a page before it is filled, and never an old version after a drop.
TEST_P(FaultEngineRaceTest, readers_see_whole_versions_in_order) {
  TestRegion region(GetParam(), 1);
  const auto fill = [&](std::uint64_t version) {
    for (std::size_t slot = 0; slot < 512; ++slot) region.behind(0, slot).store(version);
  };
  std::atomic<std::uint64_t> complete{0};  // the newest version that was ever whole
  std::atomic<bool> stop{false}, torn{false};
  std::vector<std::thread> readers;
  for (unsigned i = 0; i < 4; ++i) {
    readers.emplace_back([&, i] {
      Prng chance(i);
      while (!stop) {
        const std::uint64_t at_least = complete.load();
        if (region.word(0, chance.below(512)).load() < at_least) torn = true;
        if (chance.one_in(8)) std::this_thread::yield();
      }
    });
  }
  for (std::uint64_t version = 1; version <= kRounds; ++version) {
    region.set(0, 1, Protection::kNone, [&] { fill(version); });
    complete = version;
    std::this_thread::yield();
  }
  stop = true;
  for (auto& reader : readers) reader.join();
  EXPECT_FALSE(torn);
}

}  // namespace
}  // namespace gallocy::os
