// C++20: counting_semaphore, latch, barrier with a completion, atomic wait and notify, atomic_ref, shared_ptr counts.
#include <atomic>
#include <barrier>
#include <cstdio>
#include <latch>
#include <memory>
#include <semaphore>
#include <thread>
#include <vector>

#include "check.h"

int main() {
  std::counting_semaphore<3> room(3);
  std::latch started(kThreads);
  std::atomic<int> inside{0}, passed{0}, gate{0};
  int phases = 0;
  std::barrier phase(kThreads, [&phases]() noexcept { ++phases; });
  const auto shared = std::make_shared<int>(5);
  int plain = 0;
  std::atomic<bool> flag{false};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i)
      threads.emplace_back([&, shared, i] {
        started.arrive_and_wait();
        for (int j = 0; j < 10; ++j) {
          room.acquire();
          CHECK(++inside <= 3);
          --inside;
          room.release();
        }
        for (int j = 0; j < 10; ++j) {
          phase.arrive_and_wait();
          CHECK(phases == j + 1);
          phase.arrive_and_wait();
          if (i == 0) --phases;
          phase.arrive_and_wait();
          if (i == 0) --phases;
          phase.arrive_and_wait();
          if (i == 0) --phases;
        }
        gate.wait(0);  // int
        flag.wait(false);
        const std::shared_ptr<int> copy = shared;
        std::atomic_ref<int>(plain).fetch_add(*copy);
        ++passed;
        passed.notify_one();
      });
    pause_ms(10);
    gate = 1;
    gate.notify_all();
    flag = true;
    flag.notify_all();
    for (int now = passed.load(); now != kThreads; now = passed.load()) passed.wait(now);
  }
  CHECK(!room.try_acquire() == false);
  std::printf("phases %d passed %d plain %d owners %ld\n", phases, passed.load(), plain, shared.use_count());
  return 0;
}
