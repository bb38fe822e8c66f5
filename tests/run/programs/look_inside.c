// Threads that do a bit of all that `gallocy run --trace` shows: faults, system calls, waiting for each other, signals,
// processes (trace.sh).
#include <signal.h>
#include <sys/wait.h>

#include "check.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER, never = PTHREAD_COND_INITIALIZER;
static int turn;
static long pages[64][512] __attribute__((aligned(4096)));
static volatile sig_atomic_t signals;

static void count(int number) {
  (void)number;
  __atomic_add_fetch(&signals, 1, __ATOMIC_RELAXED);
}

static void* body(void* argument) {
  const int self = (int)(long)argument;
  int ends[2];
  CHECK(pipe(ends) == 0);
  for (int i = self; i < 64; i += kThreads) {
    pages[i][self] = i;
    CHECK(write(ends[1], &i, sizeof i) == sizeof i);
  }
  CHECK(pthread_mutex_lock(&mutex) == 0);
  while (turn != self) CHECK(pthread_cond_wait(&changed, &mutex) == 0);
  ++turn;
  CHECK(pthread_cond_broadcast(&changed) == 0);
  CHECK(pthread_mutex_unlock(&mutex) == 0);
  CHECK(pthread_kill(pthread_self(), SIGUSR1) == 0);
  CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
  return NULL;
}

// Whatever the others do.
static void wait_in_vain(void) {
  struct timespec until;
  CHECK(clock_gettime(CLOCK_REALTIME, &until) == 0);
  until.tv_sec += until.tv_nsec >= 990000000;
  until.tv_nsec = (until.tv_nsec + 10000000) % 1000000000;
  CHECK(pthread_mutex_lock(&mutex) == 0);
  int result = 0;
  while (result == 0) result = pthread_cond_timedwait(&never, &mutex, &until);
  CHECK(result == ETIMEDOUT);
  CHECK(pthread_mutex_unlock(&mutex) == 0);
}

int main(void) {
  signal(SIGUSR1, count);
  pthread_t threads[kThreads];
  for (long i = 0; i < kThreads; ++i) CHECK(pthread_create(&threads[i], NULL, body, (void*)i) == 0);
  for (int i = 0; i < kThreads; ++i) join(threads[i]);
  wait_in_vain();
  const pid_t child = fork();
  if (child == 0) _exit(3);
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 3);
  long sum = 0;
  for (int i = 0; i < 64; ++i) sum += pages[i][i % kThreads];
  printf("%d turns, %d signals, sum %ld\n", turn, (int)signals, sum);
  return 0;
}
