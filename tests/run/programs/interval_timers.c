// setitimer on all three clocks, alarm; the handler runs while threads compute and while they sleep.
#include <signal.h>
#include <sys/time.h>

#include "check.h"

static volatile sig_atomic_t alarms, profiles, virtuals;
static void handler(int signal) {
  if (signal == SIGALRM) ++alarms;
  if (signal == SIGPROF) ++profiles;
  if (signal == SIGVTALRM) ++virtuals;
}

static void* wait_for_alarms(void* argument) {
  (void)argument;
  while (alarms < 3) pause_ms(1);
  return NULL;
}

int main(void) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0 && sigaction(SIGPROF, &action, NULL) == 0);
  CHECK(sigaction(SIGVTALRM, &action, NULL) == 0);
  const struct itimerval often = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};
  struct itimerval now;
  CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
  pthread_t threads[kThreads];
  start_all(threads, wait_for_alarms);
  join_all(threads);
  CHECK(setitimer(ITIMER_REAL, &never, &now) == 0 && now.it_interval.tv_usec == 5000);
  CHECK(setitimer(ITIMER_VIRTUAL, &often, NULL) == 0);
  while (virtuals < 2) continue;
  CHECK(setitimer(ITIMER_VIRTUAL, &never, NULL) == 0);
  CHECK(setitimer(ITIMER_PROF, &often, NULL) == 0);
  while (profiles < 2) continue;
  CHECK(setitimer(ITIMER_PROF, &never, NULL) == 0);
  const int before = alarms;
  CHECK(alarm(100) == 0);
  CHECK(alarm(1) == 100);
  while (alarms == before) pause_ms(10);
  CHECK(alarms == before + 1);
  puts("ok");
  return 0;
}
