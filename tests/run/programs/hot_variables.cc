// Two threads write variables in turn: the pages that `gallocy run --stat` names (hot_variables.sh).
#include <atomic>
#include <memory>
#include <thread>

#include "check.h"

namespace hot {
alignas(4096) std::atomic<long> turn;  // by both threads
alignas(4096) long tally[512];         // the threads' words are apart
alignas(4096) static long initialized[512] = {1};
}  // namespace hot

static void take_turns(int self, long* on_heap) {
  for (long i = self; i < 200; i += 2) {
    while (hot::turn.load() != i) std::this_thread::yield();
    hot::tally[self * 8] += 1;
    hot::initialized[0] += 1;
    *on_heap += 1;
    hot::turn.store(i + 1);
  }
}

int main() {
  auto on_heap = std::make_unique<long>(0);
  std::thread first(take_turns, 0, on_heap.get()), second(take_turns, 1, on_heap.get());
  first.join();
  second.join();
  std::printf("%ld %ld %ld %ld\n", hot::tally[0], hot::tally[8], hot::initialized[0], *on_heap);
}
