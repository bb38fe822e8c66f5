// The heap: blocks allocated in one thread and freed in another, realloc, aligned_alloc, calloc, big blocks, trimming.
#define _GNU_SOURCE
#include <malloc.h>
#include <stdint.h>

#include "check.h"

enum { kBlocks = 400 };
static unsigned char* blocks[kThreads][kBlocks];
static pthread_barrier_t barrier;

static size_t size_of(int owner, int i) {
  return (size_t)(i * 37 + owner * 101) % 3000 + 1 + (i % 50 == 0 ? 300000 : 0);
}

static void* body(void* argument) {
  const int me = (int)(long)argument, next = (me + 1) % kThreads;
  for (int i = 0; i < kBlocks; ++i) {
    const size_t bytes = size_of(me, i);
    if (i % 3 == 0) {
      blocks[me][i] = calloc(1, bytes);
      for (size_t j = 0; j < bytes; ++j) CHECK(blocks[me][i][j] == 0);
    } else if (i % 3 == 1) {
      blocks[me][i] = aligned_alloc(256, (bytes + 255) / 256 * 256);
      CHECK((uintptr_t)blocks[me][i] % 256 == 0);
    } else {
      blocks[me][i] = malloc(bytes);
    }
    memset(blocks[me][i], me * 16 + i % 16, bytes);
  }
  pthread_barrier_wait(&barrier);
  for (int i = 0; i < kBlocks; ++i) {
    const size_t bytes = size_of(next, i);
    unsigned char* block = blocks[next][i];
    for (size_t j = 0; j < bytes; ++j) CHECK(block[j] == (unsigned char)(next * 16 + i % 16));
    if (i % 2 == 0) {
      block = realloc(block, bytes * 3);
      for (size_t j = 0; j < bytes; ++j) CHECK(block[j] == (unsigned char)(next * 16 + i % 16));
      block = realloc(block, bytes / 2 + 1);
    }
    free(block);
  }
  pthread_barrier_wait(&barrier);
  malloc_trim(0);
  for (int round = 0; round < 5; ++round) {
    unsigned char* const big = calloc(1, 4 << 20);
    for (size_t j = 0; j < 4 << 20; j += 1024) CHECK(big[j]++ == 0);
    free(big);
  }
  return NULL;
}

int main(void) {
  pthread_barrier_init(&barrier, NULL, kThreads);
  pthread_t threads[kThreads];
  for (int round = 0; round < 2; ++round) {
    start_all(threads, body);
    join_all(threads);
  }
  puts("ok");
  return 0;
}
