// Threads: arguments, return values, pointers into another thread's stack, threads started by threads.
#include "check.h"

static void* square(void* argument) {
  const long n = (long)argument;
  return (void*)(n * n);
}

static void* fill(void* argument) {
  int* const cells = argument;
  for (int i = 0; i < 1000; ++i) cells[i] = i;
  return cells + 999;
}

static void* tree(void* argument) {
  const long depth = (long)argument;
  if (depth == 0) return (void*)1;
  const pthread_t left = start(tree, (void*)(depth - 1)), right = start(tree, (void*)(depth - 1));
  return (void*)((long)join(left) + (long)join(right));
}

static void* exits(void* argument) { pthread_exit((char*)argument + 1); }

static void* own_id(void* argument) {
  *(pthread_t*)argument = pthread_self();
  return NULL;
}

int main(void) {
  pthread_t threads[64];
  for (long i = 0; i < 64; ++i) threads[i] = start(square, (void*)i);
  long sum = 0;
  for (int i = 0; i < 64; ++i) sum += (long)join(threads[i]);
  printf("squares %ld\n", sum);

  int cells[1000];
  CHECK(*(int*)join(start(fill, cells)) == 999);
  CHECK(cells[500] == 500);
  printf("tree %ld\n", (long)join(start(tree, (void*)5)));
  char text[2];
  CHECK(join(start(exits, text)) == text + 1);
  pthread_t seen;
  const pthread_t thread = start(own_id, &seen);
  join(thread);
  CHECK(pthread_equal(thread, seen));
  CHECK(!pthread_equal(thread, pthread_self()));
  for (int i = 0; i < 200; ++i) CHECK((long)join(start(square, (void*)(long)i)) == (long)i * i);
  puts("ok");
  return 0;
}
