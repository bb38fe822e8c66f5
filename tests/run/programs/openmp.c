// OpenMP: parallel for with each schedule, reduction, critical, atomic, barrier, single, sections, tasks,
// threadprivate, locks.
#include <omp.h>

#include "check.h"

static int private_value;
#pragma omp threadprivate(private_value)

static long fibonacci(int n) {
  if (n < 2) return n;
  long a, b;
#pragma omp task shared(a) if (n > 8)
  a = fibonacci(n - 1);
#pragma omp task shared(b) if (n > 8)
  b = fibonacci(n - 2);
#pragma omp taskwait
  return a + b;
}

int main(void) {
  enum { kCount = 20000 };
  static double cells[kCount];
  omp_set_dynamic(0);
  omp_set_num_threads(4);
  long sum = 0, critical = 0, atomic = 0, singles = 0, sections = 0;
  int threads = 0;
  for (int round = 0; round < 5; ++round) {
#pragma omp parallel for schedule(static)
    for (int i = 0; i < kCount; ++i) cells[i] = i;
#pragma omp parallel for schedule(dynamic, 500) reduction(+ : sum)
    for (int i = 0; i < kCount; ++i) sum += (long)cells[i];
#pragma omp parallel for schedule(guided) reduction(max : threads)
    for (int i = 0; i < kCount; ++i) threads = omp_get_num_threads();
#pragma omp parallel
    {
      private_value = omp_get_thread_num();
#pragma omp critical
      ++critical;
#pragma omp atomic
      ++atomic;
#pragma omp barrier
      CHECK(critical == 4 * (round + 1) && atomic == 4 * (round + 1));
#pragma omp single
      ++singles;
#pragma omp barrier
      CHECK(private_value == omp_get_thread_num());
#pragma omp sections reduction(+ : sections)
      {
#pragma omp section
        sections += 1;
#pragma omp section
        sections += 2;
      }
    }
  }
  long result = 0;
#pragma omp parallel
#pragma omp single
  result = fibonacci(14);
  omp_lock_t lock;
  omp_init_lock(&lock);
  long locked = 0;
#pragma omp parallel for
  for (int i = 0; i < 200; ++i) {
    omp_set_lock(&lock);
    ++locked;
    omp_unset_lock(&lock);
  }
  long ordered = 0;
#pragma omp parallel for ordered
  for (int i = 0; i < 40; ++i) {
#pragma omp ordered
    ordered = ordered * 3 % 1000003 + i;
  }
  long nested = 0;
  omp_set_max_active_levels(2);
#pragma omp parallel num_threads(2) reduction(+ : nested)
  {
    long inner = 0;
#pragma omp parallel num_threads(2) reduction(+ : inner)
    inner += 1;
    nested += inner;
  }
  printf("threads %d sum %ld critical %ld atomic %ld singles %ld sections %ld\n", threads, sum, critical, atomic,
         singles, sections);
  printf("tasks %ld locked %ld ordered %ld nested %ld\n", result, locked, ordered, nested);
  return 0;
}
