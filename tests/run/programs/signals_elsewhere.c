// Signals to the process go to whichever thread does not block them, also if that is none of the first node's: from
// kill, alarm, an interval timer and a child; with threads that compute and that wait in each way. SA_RESETHAND is good
// for one signal of all threads'.
#include <poll.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "check.h"

enum { kKinds = 4 };
static const int numbers[kKinds] = {SIGUSR1, SIGALRM, SIGVTALRM, SIGCHLD};

static pthread_t receiver;
static volatile int received;
static int pipe_ends[2];
static pthread_barrier_t barrier;

static void handler(int signal) {
  CHECK(pthread_equal(pthread_self(), receiver));
  __atomic_store_n(&received, signal, __ATOMIC_SEQ_CST);
}

static void* receives(void* argument) {
  const long way = (long)argument;
  sigset_t set;
  struct pollfd from_pipe = {.fd = pipe_ends[0], .events = POLLIN};
  sigemptyset(&set);
  for (int i = 0; i < kKinds; ++i) sigaddset(&set, numbers[i]);
  __atomic_store_n(&receiver, pthread_self(), __ATOMIC_SEQ_CST);
  CHECK(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
  for (int i = 0; i < kKinds; ++i) {
    __atomic_store_n(&received, 0, __ATOMIC_SEQ_CST);
    pthread_barrier_wait(&barrier);
    while (__atomic_load_n(&received, __ATOMIC_SEQ_CST) == 0) {
      const struct timespec soon = {.tv_nsec = 50000000};
      if (way == 1) (void)!poll(&from_pipe, 1, 50);
      if (way == 2) nanosleep(&soon, NULL);
    }
    printf("thread %ld: signal %d\n", way, received);
    pthread_barrier_wait(&barrier);
  }
  return NULL;
}

static void send(int number) {
  const struct itimerval soon = {.it_value = {.tv_usec = 1000}};
  pid_t child;
  switch (number) {
    case SIGALRM:
      CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
      break;
    case SIGCHLD:
      child = fork();
      if (child == 0) _exit(0);
      CHECK(waitpid(child, NULL, 0) == child);
      break;
    default:
      CHECK(kill(getpid(), number) == 0);
  }
}

static volatile int handled;
static void only_once(int signal) {
  (void)signal;
  __atomic_add_fetch(&handled, 1, __ATOMIC_SEQ_CST);
}

static void* raises(void* argument) {
  CHECK(pthread_kill(pthread_self(), SIGURG) == 0);
  pthread_barrier_wait(&barrier);
  return argument;
}

int main(void) {
  struct sigaction action = {.sa_handler = handler}, once = {.sa_handler = only_once, .sa_flags = SA_RESETHAND};
  sigset_t set;
  sigemptyset(&set);
  for (int i = 0; i < kKinds; ++i) {
    CHECK(sigaction(numbers[i], &action, NULL) == 0);
    sigaddset(&set, numbers[i]);
  }
  CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
  CHECK(pipe(pipe_ends) == 0);
  CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
  for (long way = 0; way < 4; ++way) {
    const pthread_t thread = start(receives, (void*)way);
    for (int i = 0; i < kKinds; ++i) {
      pthread_barrier_wait(&barrier);
      send(numbers[i]);
      pthread_barrier_wait(&barrier);
    }
    join(thread);
  }

  pthread_t threads[kThreads];
  pthread_barrier_init(&barrier, NULL, kThreads);
  CHECK(sigaction(SIGURG, &once, NULL) == 0);
  start_all(threads, raises);
  join_all(threads);
  CHECK(sigaction(SIGURG, NULL, &once) == 0);
  printf("handled %d, %s\n", handled, once.sa_handler == SIG_DFL ? "default" : "handler");
  return 0;
}
