// Many signals while threads allocate, lock and compute: nothing is lost or torn.
#include <signal.h>
#include <sys/time.h>

#include "check.h"

static volatile sig_atomic_t ticks;
static void handler(int signal) {
  (void)signal;
  __atomic_add_fetch(&ticks, 1, __ATOMIC_RELAXED);
}
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long total;

static void* body(void* argument) {
  (void)argument;
  for (int i = 0; i < 300; ++i) {
    char* const block = malloc(100 + (size_t)i * 10);
    memset(block, i, 100 + (size_t)i * 10);
    double x = 1;
    for (int j = 0; j < 1000; ++j) x = x * 1.0001 + 1e-9;
    CHECK(x > 1.1 && x < 1.2);
    pthread_mutex_lock(&mutex);
    total += block[0] == (char)i;
    pthread_mutex_unlock(&mutex);
    free(block);
  }
  return NULL;
}

int main(void) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  const struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
  CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
  while (ticks < 5) continue;
  CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
  printf("total %ld\n", total);
  return 0;
}
