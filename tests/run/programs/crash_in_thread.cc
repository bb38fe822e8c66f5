// A thread crashes some calls deep, in a function of the program that a function of the C library called: what
// `gallocy run --backtrace` says of it is looked at by crash.sh.
#include <cstdlib>
#include <thread>

#include "check.h"

namespace deep {

volatile long sink;

__attribute__((noinline)) int innermost(const void* a, const void*) {
  auto* const nowhere = reinterpret_cast<volatile long*>(sink + 0x18);
  *nowhere = *static_cast<const int*>(a);
  return 0;
}

__attribute__((noinline)) void sort_numbers(int* numbers, std::size_t count) {
  std::qsort(numbers, count, sizeof *numbers, innermost);
  sink = numbers[0];
}

__attribute__((noinline)) void outermost() {
  int numbers[] = {3, 1, 2};
  sort_numbers(numbers, 3);
  sink = numbers[1];
}

}  // namespace deep

int main() {
  std::thread thread(deep::outermost);
  thread.join();
  std::puts("after");
}
