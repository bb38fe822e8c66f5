// What the compute kernels share: their command line, threads, and the line that they print.
//
//   matmul|sort|stencil THREADS SIZE        prints digest=<of the result>
//
// Plain C and pthreads: unmodified programs, for `gallocy run`. The main thread only waits.
#pragma once

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { kMostThreads = 64 };

struct Kernel {
  unsigned threads;
  size_t size;
};

static inline struct Kernel kernel_arguments(int count, char** arguments) {
  struct Kernel kernel = {0, 0};
  if (count == 3) kernel = (struct Kernel){(unsigned)atoi(arguments[1]), (size_t)atoll(arguments[2])};
  if (kernel.threads == 0 || kernel.threads > kMostThreads || kernel.size < kernel.threads) {
    fprintf(stderr, "%s: expected the number of threads (1 to %d) and the size\n", arguments[0], kMostThreads);
    exit(64);
  }
  return kernel;
}

// The first of `size` things that thread `index` works on; that of thread `threads` is the end.
static inline size_t kernel_part(const struct Kernel* kernel, size_t size, size_t index) {
  return size * index / kernel->threads;
}

// Runs body(thread's number) on that many threads, to their end.
static inline void kernel_run(const struct Kernel* kernel, void* (*body)(void*)) {
  pthread_t threads[kMostThreads];
  for (unsigned i = 0; i < kernel->threads; ++i) {
    if (pthread_create(&threads[i], NULL, body, (void*)(uintptr_t)i) != 0) {
      perror("pthread_create");
      exit(1);
    }
  }
  for (unsigned i = 0; i < kernel->threads; ++i) pthread_join(threads[i], NULL);
}

static inline void* kernel_memory(size_t bytes) {
  void* const memory = malloc(bytes);
  if (memory == NULL) {
    perror("malloc");
    exit(1);
  }
  return memory;
}

static inline uint64_t kernel_mix(uint64_t digest, uint64_t value) {
  return (digest ^ value) * 0x9e3779b97f4a7c15u + (digest >> 29);
}

static inline uint64_t kernel_bits(double value) {
  union {
    double number;
    uint64_t bits;
  } both = {.number = value};
  return both.bits;
}
