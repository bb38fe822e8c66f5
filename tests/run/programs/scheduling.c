// Scheduling: affinity, sched_getcpu, policies, priorities and names; the calls of thread pools succeed and agree.
#define _GNU_SOURCE
#include <sched.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

#include "check.h"

static void* body(void* argument) {
  (void)argument;
  cpu_set_t set, again;
  CHECK(pthread_getaffinity_np(pthread_self(), sizeof set, &set) == 0 && CPU_COUNT(&set) > 0);
  const int cpu = sched_getcpu();
  CHECK(cpu >= 0 && cpu < get_nprocs_conf());
  CHECK(pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0);
  CHECK(sched_getaffinity(0, sizeof again, &again) == 0 && CPU_EQUAL(&set, &again));
  int policy;
  struct sched_param parameter;
  CHECK(pthread_getschedparam(pthread_self(), &policy, &parameter) == 0 && policy == SCHED_OTHER);
  CHECK(pthread_setschedparam(pthread_self(), SCHED_OTHER, &parameter) == 0);
  CHECK(sched_getscheduler(0) == SCHED_OTHER && sched_get_priority_max(SCHED_FIFO) == 99);
  char name[16];
  CHECK(pthread_setname_np(pthread_self(), "named") == 0 && pthread_getname_np(pthread_self(), name, 16) == 0);
  CHECK(strcmp(name, "named") == 0);
  CHECK(sched_yield() == 0);
  errno = 0;
  CHECK(getpriority(PRIO_PROCESS, 0) >= -20 && errno == 0);
  return NULL;
}

int main(void) {
  pthread_t threads[kThreads];
  start_all(threads, body);
  char name[16];
  for (int i = 0; i < kThreads; ++i) CHECK(pthread_setname_np(pthread_self(), "main") == 0);
  join_all(threads);
  CHECK(pthread_getname_np(pthread_self(), name, 16) == 0 && strcmp(name, "main") == 0);
  CHECK(sysconf(_SC_NPROCESSORS_ONLN) >= 1 && get_nprocs() >= 1 && sysconf(_SC_PHYS_PAGES) > 0);
  cpu_set_t none;
  CPU_ZERO(&none);
  CHECK(sched_setaffinity(0, sizeof none, &none) == -1 && errno == EINVAL);
  body(NULL);
  puts("ok");
  return 0;
}
