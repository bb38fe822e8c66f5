#include "os/mutex.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <new>
#include <thread>
#include <vector>

#include "base/ids.h"
#include "os/clock.h"

namespace gallocy::os {
namespace {

TEST(MutexTest, no_increment_is_lost_between_threads) {
  constexpr int kThreads = 6, kIncrements = 20'000;
  Mutex mutex;
  std::uint64_t count = 0;  // plain: the mutex is all that keeps the increments apart
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < kIncrements; ++j) {
        const MutexLock lock(mutex);
        ++count;
        if (j % 256 == 0) std::this_thread::yield();  // some hold it while they do not run, so others sleep
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(count, std::uint64_t{kThreads} * kIncrements);
}

TEST(MutexTest, try_lock_fails_while_held) {
  Mutex mutex;
  ASSERT_TRUE(mutex.try_lock());
  std::thread([&] {
    const bool got = mutex.try_lock();
    if (got) mutex.unlock();
    EXPECT_FALSE(got);
  }).join();
  mutex.unlock();
  ASSERT_TRUE(mutex.try_lock());
  mutex.unlock();
}

TEST(FutexTest, changed_word_does_not_wait) {
  const std::atomic<std::uint32_t> word{1};
  EXPECT_EQ(futex_wait(word, 0, FutexScope::kPrivate), FutexWait::kChanged);
}

TEST(FutexTest, deadline_ends_the_wait_and_errno_is_kept) {
  const std::atomic<std::uint32_t> word{1};
  const std::int64_t deadline = monotonic_ns() + 2'000'000;
  errno = ERANGE;
  EXPECT_EQ(futex_wait(word, 1, FutexScope::kPrivate, deadline), FutexWait::kTimedOut);
  EXPECT_EQ(errno, ERANGE);
  EXPECT_GE(monotonic_ns(), deadline);
  EXPECT_EQ(futex_wait(word, 1, FutexScope::kPrivate, 0), FutexWait::kTimedOut);   // long past
  EXPECT_EQ(futex_wait(word, 1, FutexScope::kPrivate, -5), FutexWait::kTimedOut);  // nonsense, but past too
}

TEST(FutexTest, wake_reaches_a_sleeping_thread) {
  std::atomic<std::uint32_t> word{0};
  std::thread sleeper([&] {
    while (word == 0) futex_wait(word, 0, FutexScope::kPrivate);
  });
  word = 1;
  futex_wake(word, kAllSleepers, FutexScope::kPrivate);
  sleeper.join();
}

TEST(FutexTest, shared_word_wakes_another_process) {
  void* const page = ::mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(page, MAP_FAILED);
  auto& word = *new (page) std::atomic<std::uint32_t>{0};
  const pid_t child = ::fork();
  if (child == 0) {
    const std::int64_t deadline = monotonic_ns() + 20'000'000'000;
    while (word == 0) {
      if (futex_wait(word, 0, FutexScope::kShared, deadline) == FutexWait::kTimedOut) ::_exit(1);
    }
    ::_exit(0);
  }
  // The child is asleep once a wake finds it.
  const std::int64_t limit = monotonic_ns() + 20'000'000'000;
  while (futex_wake(word, 1, FutexScope::kShared) == 0 && monotonic_ns() < limit) std::this_thread::yield();
  word = 1;
  futex_wake(word, 1, FutexScope::kShared);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  ::munmap(page, kPageBytes);
}

}  // namespace
}  // namespace gallocy::os
