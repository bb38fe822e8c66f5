// std::thread, jthread with stop tokens, async, future, promise, packaged_task, condition_variable, shared_mutex,
// call_once.
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <future>
#include <mutex>
#include <numeric>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "check.h"

int main() {
  std::vector<std::string> words(kThreads);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i)
      threads.emplace_back([&words, i] { words[i] = std::string(100, static_cast<char>('a' + i)); });
  }
  for (const auto& word : words) std::printf("%s\n", word.substr(0, 4).c_str());

  std::vector<std::future<long>> sums;
  std::vector<long> numbers(100000);
  std::iota(numbers.begin(), numbers.end(), 0);
  for (int i = 0; i < 10; ++i)
    sums.push_back(std::async(std::launch::async, [&numbers, i] {
      return std::accumulate(numbers.begin() + i * 10000, numbers.begin() + (i + 1) * 10000, 0L);
    }));
  long sum = 0;
  for (auto& part : sums) sum += part.get();
  std::printf("sum %ld\n", sum);

  std::promise<std::string> promise;
  auto future = promise.get_future();
  CHECK(future.wait_for(std::chrono::milliseconds(5)) == std::future_status::timeout);
  std::jthread setter([&promise] { promise.set_value("kept"); });
  std::printf("promise %s\n", future.get().c_str());

  std::packaged_task<int(int)> task([](int n) { return n + 1; });
  auto result = task.get_future();
  std::jthread runner(std::move(task), 41);
  std::printf("task %d\n", result.get());

  std::mutex mutex;
  std::condition_variable_any changed;
  std::deque<int> queue;
  long taken = 0;
  {
    std::jthread consumer([&](std::stop_token stop) {
      std::unique_lock lock(mutex);
      while (changed.wait(lock, stop, [&] { return !queue.empty(); })) {
        taken += queue.front();
        queue.pop_front();
      }
    });
    for (int i = 1; i <= 100; ++i) {
      const std::lock_guard lock(mutex);
      queue.push_back(i);
      changed.notify_one();
    }
    for (bool empty = false; !empty; std::this_thread::yield()) {
      const std::lock_guard lock(mutex);
      empty = queue.empty();
    }
  }
  std::printf("taken %ld\n", taken);

  std::shared_mutex shared;
  std::once_flag once;
  int ran = 0;
  long writes = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i)
      threads.emplace_back([&] {
        std::call_once(once, [&ran] { ++ran; });
        for (int j = 0; j < 50; ++j) {
          if (j % 5 == 0) {
            const std::lock_guard lock(shared);
            ++writes;
          } else {
            const std::shared_lock lock(shared);
            CHECK(writes >= 0);
          }
        }
      });
  }
  std::printf("once %d writes %ld\n", ran, writes);
  return 0;
}
