// Signals to the process and to threads on any node: raise, kill, pthread_kill, sigqueue, siginfo, nested handlers,
// one-shot.
#define _GNU_SOURCE
#include <signal.h>
#include <sys/syscall.h>

#include "check.h"

static pthread_t threads[kThreads];
static pid_t ids[kThreads];
static volatile sig_atomic_t handled[kThreads];
static volatile sig_atomic_t process_handled, value_sum, depth, deepest, nested_done, once;
static _Thread_local int me = -1;
static pthread_barrier_t barrier;

static void to_thread(int signal, siginfo_t* info, void* context) {
  CHECK(signal == SIGUSR1 && info->si_signo == SIGUSR1 && info->si_code == SI_TKILL && info->si_pid == getpid());
  CHECK(context != NULL && me >= 0 && pthread_equal(pthread_self(), threads[me]));
  ++handled[me];
}

static void to_process(int signal, siginfo_t* info, void* context) {
  (void)context;
  CHECK(signal == SIGUSR2 && info->si_pid == getpid());
  if (info->si_code == SI_QUEUE)
    value_sum += info->si_value.sival_int;
  else
    CHECK(info->si_code == SI_USER);
  ++process_handled;
}

static void nested(int signal) {
  if (++depth > deepest) deepest = depth;
  if (signal == SIGHUP) raise(SIGINT);  // waits when SIGHUP masks it
  if (signal == SIGINT) raise(SIGTERM);
  ++nested_done;
  --depth;
}

static void one_shot(int signal) {
  (void)signal;
  ++once;
}

static void* body(void* argument) {
  me = (int)(long)argument;
  ids[me] = gettid();
  CHECK(raise(SIGUSR1) == 0);
  CHECK(handled[me] == 1);  // before raise returns
  pthread_barrier_wait(&barrier);
  for (int i = 0; i < 10; ++i) {
    CHECK(pthread_kill(threads[(me + 1) % kThreads], SIGUSR1) == 0);
    while (handled[me] < i + 2) pause_ms(1);
    pthread_barrier_wait(&barrier);
  }
  CHECK(handled[me] >= 11);
  if (me == 0) {
    CHECK(syscall(SYS_tgkill, getpid(), ids[5], 0) == 0);
    CHECK(syscall(SYS_tgkill, getpid(), ids[5], SIGUSR1) == 0);
  }
  if (me == 5)
    while (handled[me] != 12) pause_ms(1);
  return NULL;
}

static void* from_thread(void* argument) {
  (void)argument;
  CHECK(kill(getpid(), SIGUSR2) == 0);
  while (process_handled != 3) pause_ms(1);  // one at a time: they are not queued
  CHECK(sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 40}) == 0);
  return NULL;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = to_thread, .sa_flags = SA_SIGINFO | SA_RESTART}, old;
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  CHECK(sigaction(SIGUSR1, NULL, &old) == 0 && old.sa_sigaction == to_thread && (old.sa_flags & SA_SIGINFO) != 0);
  action.sa_sigaction = to_process;
  CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
  pthread_barrier_init(&barrier, NULL, kThreads);
  // Thread 0 begins when all handles are stored.
  sigset_t set, before;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  CHECK(pthread_sigmask(SIG_BLOCK, &set, &before) == 0);
  CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
  for (long i = 0; i < kThreads; ++i) CHECK(pthread_create(&threads[i], NULL, body, (void*)i) == 0);
  join_all(threads);
  for (int i = 0; i < kThreads; ++i) printf("%d ", handled[i]);
  puts("");

  CHECK(kill(getpid(), SIGUSR2) == 0);
  CHECK(process_handled == 1);  // the only thread: before kill returns
  CHECK(sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 2}) == 0);
  join(start(from_thread, NULL));
  while (process_handled != 4) pause_ms(1);
  printf("process %d value %d\n", process_handled, value_sum);

  struct sigaction simple = {.sa_handler = nested};
  CHECK(sigaction(SIGHUP, &simple, NULL) == 0 && sigaction(SIGINT, &simple, NULL) == 0 &&
        sigaction(SIGTERM, &simple, NULL) == 0);
  raise(SIGHUP);
  printf("deepest %d done %d\n", deepest, nested_done);
  deepest = nested_done = 0;
  sigaddset(&simple.sa_mask, SIGINT);
  sigaddset(&simple.sa_mask, SIGTERM);
  CHECK(sigaction(SIGHUP, &simple, NULL) == 0);
  raise(SIGHUP);
  printf("masked: deepest %d done %d\n", deepest, nested_done);

  struct sigaction shot = {.sa_handler = one_shot, .sa_flags = SA_RESETHAND};
  CHECK(sigaction(SIGHUP, &shot, NULL) == 0);
  raise(SIGHUP);
  CHECK(sigaction(SIGHUP, NULL, &old) == 0 && old.sa_handler == SIG_DFL && once == 1);
  CHECK(signal(SIGHUP, SIG_IGN) == SIG_DFL);
  raise(SIGHUP);
  struct sigaction deferring = {.sa_handler = nested, .sa_flags = SA_NODEFER};
  CHECK(sigaction(SIGHUP, &deferring, &old) == 0 && old.sa_handler == SIG_IGN);
  CHECK(sigaction(SIGKILL, &deferring, NULL) == -1 && errno == EINVAL);
  puts("ok");
  return 0;
}
