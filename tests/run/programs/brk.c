// brk and sbrk: the break grows, its memory is zero and shared with all threads, and it shrinks again.
#define _DEFAULT_SOURCE
#include <stdint.h>

#include "check.h"

static char* begin;

static void* body(void* argument) {
  const long me = (long)argument;
  CHECK(begin[me * 100000] == 0);
  begin[me * 100000] = (char)(me + 1);
  CHECK(sbrk(0) == begin + (1 << 20));
  return NULL;
}

int main(void) {
  void* volatile block = malloc(1000);
  free(block);  // the heap has taken its part of the break
  begin = sbrk(1 << 20);
  CHECK(begin != (char*)-1);
  CHECK(sbrk(0) == begin + (1 << 20));
  pthread_t threads[kThreads];
  // Stacks and thread blocks come from mmap; malloc has not used the break since.
  start_all(threads, body);
  join_all(threads);
  for (int i = 0; i < kThreads; ++i) CHECK(begin[i * 100000] == i + 1);
  CHECK(sbrk(-(1 << 19)) == begin + (1 << 20));
  CHECK(sbrk(1 << 19) == begin + (1 << 19));
  CHECK(begin[700000] == 0);  // page 7's cell was given back
  CHECK(brk(begin) == 0 && sbrk(0) == begin);
  CHECK(sbrk((intptr_t)1 << 46) == (void*)-1 && errno == ENOMEM);
  puts("ok");
  return 0;
}
