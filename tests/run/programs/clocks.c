// Clocks: monotonic over threads on all nodes (to as many ns as the argument says), time and gettimeofday agree, CPU
// clocks run, resolutions.
#define _GNU_SOURCE
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>

#include "check.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct timespec last;
static long long tolerance_ns;

static long long since(const struct timespec* from, const struct timespec* to) {
  return (to->tv_sec - from->tv_sec) * 1000000000ll + (to->tv_nsec - from->tv_nsec);
}

static void* body(void* argument) {
  (void)argument;
  for (int i = 0; i < 300; ++i) {
    pthread_mutex_lock(&mutex);
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    CHECK(since(&last, &now) >= -tolerance_ns);
    last = now;
    pthread_mutex_unlock(&mutex);
  }
  // The system call reads the same clock.
  struct timespec before, called, after;
  CHECK(clock_gettime(CLOCK_MONOTONIC, &before) == 0 && syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &called) == 0);
  CHECK(clock_gettime(CLOCK_MONOTONIC, &after) == 0);
  CHECK(before.tv_sec <= called.tv_sec && called.tv_sec <= after.tv_sec);
  struct timespec begin, end, real;
  CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin) == 0);
  do CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end) == 0);
  while (end.tv_sec == begin.tv_sec && end.tv_nsec - begin.tv_nsec < 2000000);
  struct timeval day;
  CHECK(gettimeofday(&day, NULL) == 0 && clock_gettime(CLOCK_REALTIME, &real) == 0);
  CHECK(real.tv_sec - day.tv_sec <= 1 && time(NULL) - day.tv_sec <= 1 && time(NULL) > 1600000000);
  clockid_t clock;
  CHECK(pthread_getcpuclockid(pthread_self(), &clock) == 0 && clock_gettime(clock, &end) == 0);
  return NULL;
}

int main(int argument_count, char** arguments) {
  if (argument_count > 1) tolerance_ns = atoll(arguments[1]);
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
  const clockid_t all[] = {CLOCK_REALTIME, CLOCK_MONOTONIC,        CLOCK_MONOTONIC_RAW,
                           CLOCK_BOOTTIME, CLOCK_MONOTONIC_COARSE, CLOCK_PROCESS_CPUTIME_ID,
                           CLOCK_TAI};
  for (size_t i = 0; i < sizeof all / sizeof *all; ++i) {
    struct timespec now;
    CHECK(clock_gettime(all[i], &now) == 0 && clock_getres(all[i], &now) == 0);
  }
  struct rusage usage;
  CHECK(getrusage(RUSAGE_SELF, &usage) == 0 && usage.ru_maxrss > 0);
  struct tms used;
  CHECK(times(&used) != (clock_t)-1 && clock() > 0);
  struct timespec bad;
  CHECK(clock_gettime(99, &bad) == -1 && errno == EINVAL);
  puts("ok");
  return 0;
}
