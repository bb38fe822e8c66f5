// C = A B for matrices of SIZE x SIZE doubles; each thread computes a stripe of rows. kernel.h has the command line.
#include "kernel.h"

static struct Kernel kernel;
static double *a, *b, *c;

static void* stripe(void* index) {
  const size_t n = kernel.size, first = kernel_part(&kernel, n, (uintptr_t)index),
               end = kernel_part(&kernel, n, (uintptr_t)index + 1);
  enum { kBlock = 64 };  // rows of B that stay in the cache
  for (size_t block = 0; block < n; block += kBlock) {
    const size_t block_end = block + kBlock < n ? block + kBlock : n;
    for (size_t i = first; i < end; ++i) {
      for (size_t k = block; k < block_end; ++k) {
        const double factor = a[i * n + k];
        for (size_t j = 0; j < n; ++j) c[i * n + j] += factor * b[k * n + j];
      }
    }
  }
  return NULL;
}

int main(int count, char** arguments) {
  kernel = kernel_arguments(count, arguments);
  const size_t n = kernel.size;
  a = kernel_memory(n * n * sizeof *a), b = kernel_memory(n * n * sizeof *b), c = kernel_memory(n * n * sizeof *c);
  for (size_t i = 0; i < n * n; ++i) {
    a[i] = (double)(i % 97) - 48;
    b[i] = (double)(i % 89) - 44;
    c[i] = 0;
  }
  kernel_run(&kernel, stripe);
  uint64_t digest = n;
  for (size_t i = 0; i < n * n; ++i) digest = kernel_mix(digest, kernel_bits(c[i]));
  printf("digest=%016llx\n", (unsigned long long)digest);
  return 0;
}
