// handovers mutex|cond COUNT            prints us=<per hand-over> nodes=<of the two threads> digest=<of the work>
//
// Two threads pass a turn COUNT times: `mutex` takes and releases one mutex as fast as it can until it has the turn,
// and passes it on; `cond` waits on a condition variable for it. A line of data under the mutex goes along. Under
// `gallocy run -n 2` the threads are on two nodes, and stay there, as each has its half of the processors.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long count;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t passed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t start;
static long turn;  // the thread (turn % 2) has it
static uint64_t digest;
static unsigned nodes[2];
static struct timespec begin, end;

static uint64_t mix(uint64_t value, long at, long me) {
  return (value ^ (uint64_t)(at * 2 + me)) * 0x9e3779b97f4a7c15u;
}

static void pass_on(long me) {
  digest = mix(digest, turn, me);
  ++turn;
}

static void* by_mutex(void* argument) {
  const long me = (long)(intptr_t)argument;
  syscall(SYS_getcpu, NULL, &nodes[me], NULL);
  pthread_barrier_wait(&start);
  if (me == 0) clock_gettime(CLOCK_MONOTONIC, &begin);
  for (long at = 0; at < count;) {
    pthread_mutex_lock(&mutex);
    if (turn < count && turn % 2 == me) pass_on(me);
    at = turn;
    pthread_mutex_unlock(&mutex);
  }
  if (me == 0) clock_gettime(CLOCK_MONOTONIC, &end);
  return NULL;
}

static void* by_condition(void* argument) {
  const long me = (long)(intptr_t)argument;
  syscall(SYS_getcpu, NULL, &nodes[me], NULL);
  pthread_barrier_wait(&start);
  if (me == 0) clock_gettime(CLOCK_MONOTONIC, &begin);
  pthread_mutex_lock(&mutex);
  while (turn < count) {
    while (turn < count && turn % 2 != me) pthread_cond_wait(&passed, &mutex);
    if (turn < count) pass_on(me);
    pthread_cond_signal(&passed);
  }
  pthread_mutex_unlock(&mutex);
  if (me == 0) clock_gettime(CLOCK_MONOTONIC, &end);
  return NULL;
}

static int start_on_half(pthread_t* thread, void* (*body)(void*), long me) {
  cpu_set_t all, half;
  CPU_ZERO(&half);
  if (sched_getaffinity(0, sizeof all, &all) != 0) return 0;
  const int count = CPU_COUNT(&all);
  for (int i = 0, seen = 0; i < CPU_SETSIZE; ++i) {
    if (!CPU_ISSET(i, &all)) continue;
    if (count < 2 || seen * 2 / count == me) CPU_SET(i, &half);
    ++seen;
  }
  pthread_attr_t attributes;
  return pthread_attr_init(&attributes) == 0 && pthread_attr_setaffinity_np(&attributes, sizeof half, &half) == 0 &&
         pthread_create(thread, &attributes, body, (void*)(intptr_t)me) == 0;
}

int main(int argument_count, char** arguments) {
  const char* const what = argument_count == 3 ? arguments[1] : "";
  const int with_mutex = strcmp(what, "mutex") == 0;
  if (argument_count == 3) count = atol(arguments[2]);
  if (count <= 0 || (!with_mutex && strcmp(what, "cond") != 0)) {
    fprintf(stderr, "handovers: expected mutex or cond, and a count\n");
    return 64;
  }
  pthread_barrier_init(&start, NULL, 2);
  pthread_t threads[2];
  for (long i = 0; i < 2; ++i) {
    if (!start_on_half(&threads[i], with_mutex ? by_mutex : by_condition, i)) return 1;
  }
  for (int i = 0; i < 2; ++i) pthread_join(threads[i], NULL);
  uint64_t expected = 0;
  for (long i = 0; i < count; ++i) expected = mix(expected, i, i % 2);
  if (turn != count || digest != expected) {
    fprintf(stderr, "handovers: %ld of %ld turns, or not in turn\n", turn, count);
    return 1;
  }
  const double us = (double)(end.tv_sec - begin.tv_sec) * 1e6 + (double)(end.tv_nsec - begin.tv_nsec) / 1e3;
  printf("us=%.4f nodes=%u,%u digest=%016llx\n", us / (double)count, nodes[0], nodes[1], (unsigned long long)digest);
  return 0;
}
