// Big arrays split over threads, and false sharing: neighbouring words of one page written by all threads.
#include "check.h"

enum { kCells = 1 << 20 };
static int cells[kCells];
static volatile int neighbours[kThreads];
static volatile unsigned char bytes[kThreads];
static pthread_barrier_t barrier;
static int* copy;

static void* body(void* argument) {
  const int me = (int)(long)argument;
  const int begin = me * (kCells / kThreads), end = begin + kCells / kThreads;
  for (int i = begin; i < end; ++i) cells[i] = i % 1000;
  pthread_barrier_wait(&barrier);
  for (int i = begin; i < end; ++i) copy[kCells - 1 - i] = cells[i];
  pthread_barrier_wait(&barrier);
  for (int i = 0; i < 20000; ++i) {
    ++neighbours[me];
    ++bytes[me];
  }
  pthread_barrier_wait(&barrier);
  long sum = 0;
  for (int i = me; i < kCells; i += kThreads * 64) sum += copy[i];
  for (int i = 0; i < kThreads; ++i) CHECK(neighbours[i] == 20000 && bytes[i] == 20000 % 256);
  return (void*)sum;
}

int main(void) {
  copy = malloc(sizeof cells);
  pthread_barrier_init(&barrier, NULL, kThreads);
  pthread_t threads[kThreads];
  start_all(threads, body);
  for (int i = 0; i < kThreads; ++i) printf("%ld\n", (long)join(threads[i]));
  long sum = 0;
  for (int i = 0; i < kCells; ++i) sum += copy[i] * (long)(i % 7);
  printf("sum %ld\n", sum);
  return 0;
}
