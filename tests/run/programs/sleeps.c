// Sleeping: nanosleep, clock_nanosleep relative and absolute, usleep, select with no descriptors, sched_yield.
#define _GNU_SOURCE
#include <sched.h>
#include <sys/select.h>

#include "check.h"

static void* body(void* argument) {
  (void)argument;
  struct timespec begin = after_ms(CLOCK_MONOTONIC, 0), until = after_ms(CLOCK_MONOTONIC, 20);
  CHECK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == 0 && ms_since(CLOCK_MONOTONIC, begin) >= 20);
  until = after_ms(CLOCK_REALTIME, 20);
  CHECK(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL) == 0);
  CHECK(ms_since(CLOCK_REALTIME, until) >= 0);
  begin = after_ms(CLOCK_MONOTONIC, 0);
  const struct timespec some = {.tv_nsec = 10000000};
  CHECK(clock_nanosleep(CLOCK_MONOTONIC, 0, &some, NULL) == 0 && usleep(10000) == 0);
  struct timeval limit = {0, 10000};
  CHECK(select(0, NULL, NULL, NULL, &limit) == 0);
  CHECK(ms_since(CLOCK_MONOTONIC, begin) >= 30);
  const struct timespec wrong = {.tv_nsec = 2000000000};
  CHECK(nanosleep(&wrong, NULL) == -1 && errno == EINVAL);
  CHECK(sched_yield() == 0 && sleep(0) == 0);
  until.tv_sec = 0;
  CHECK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == 0);
  return NULL;
}

int main(void) {
  body(NULL);
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
  puts("ok");
  return 0;
}
