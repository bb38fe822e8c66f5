// kSteps Jacobi steps with a five-point stencil on SIZE x SIZE doubles, a barrier after each step; each thread has a
// stripe of rows. kernel.h has the command line.
#include "kernel.h"

enum { kSteps = 100 };

static struct Kernel kernel;
static double *now, *next;
static pthread_barrier_t step_done;

static void* stripe(void* index) {
  const size_t n = kernel.size, first = kernel_part(&kernel, n - 2, (uintptr_t)index) + 1,
               end = kernel_part(&kernel, n - 2, (uintptr_t)index + 1) + 1;
  double *from = now, *to = next;
  for (int step = 0; step < kSteps; ++step) {
    for (size_t i = first; i < end; ++i) {
      const double *row = from + i * n, *above = row - n, *below = row + n;
      for (size_t j = 1; j + 1 < n; ++j) to[i * n + j] = 0.25 * (above[j] + below[j] + row[j - 1] + row[j + 1]);
    }
    double* const swapped = from;
    from = to, to = swapped;
    pthread_barrier_wait(&step_done);
  }
  return NULL;
}

int main(int count, char** arguments) {
  kernel = kernel_arguments(count, arguments);
  const size_t n = kernel.size;
  now = kernel_memory(n * n * sizeof *now), next = kernel_memory(n * n * sizeof *next);
  for (size_t i = 0; i < n * n; ++i) now[i] = next[i] = (double)(i % 101) / 101;
  pthread_barrier_init(&step_done, NULL, kernel.threads);
  kernel_run(&kernel, stripe);
  const double* const result = kSteps % 2 == 0 ? now : next;
  uint64_t digest = n;
  for (size_t i = 0; i < n * n; ++i) digest = kernel_mix(digest, kernel_bits(result[i]));
  printf("digest=%016llx\n", (unsigned long long)digest);
  return 0;
}
