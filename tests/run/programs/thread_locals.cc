// thread_local variables: one per thread, with constructors and destructors; other threads may use pointers to them.
#include <atomic>
#include <barrier>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "check.h"

namespace {

std::atomic<int> made, gone;

struct Counted {
  Counted() { ++made; }
  ~Counted() { ++gone; }
  std::string text = "a text that is longer than the small buffer";
};

thread_local Counted counted;
thread_local int plain = 7;
thread_local char zeroes[5000];
int* addresses[kThreads];
std::barrier all(kThreads);

void body(int me) {
  CHECK(plain == 7);
  for (char c : zeroes) CHECK(c == 0);
  counted.text += std::to_string(me);
  plain = me * 10;
  addresses[me] = &plain;
  all.arrive_and_wait();
  const int next = (me + 1) % kThreads;
  CHECK(*addresses[next] == next * 10);
  all.arrive_and_wait();
  *addresses[next] += 1;  // only this thread writes it
  all.arrive_and_wait();
  CHECK(plain == me * 10 + 1);
  CHECK(counted.text.back() == '0' + me);
}

}  // namespace

int main() {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(body, i);
  for (auto& thread : threads) thread.join();
  CHECK(plain == 7);
  std::printf("made %d gone %d\n", made.load(), gone.load());
  return 0;
}
