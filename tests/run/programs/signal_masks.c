// Masks: a blocked signal stays pending and arrives when unblocked; threads inherit masks; SIGSYS may be blocked too.
#define _GNU_SOURCE
#include <signal.h>

#include "check.h"

static volatile sig_atomic_t count;
static void handler(int signal) {
  (void)signal;
  __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
}

static sigset_t only(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  return set;
}

static void* body(void* argument) {
  (void)argument;
  sigset_t set = only(SIGUSR1), old, pending;
  CHECK(pthread_sigmask(SIG_BLOCK, NULL, &old) == 0);
  CHECK(sigismember(&old, SIGUSR2) == 1 && sigismember(&old, SIGUSR1) == 0);  // inherited
  CHECK(pthread_sigmask(SIG_BLOCK, &set, &old) == 0);
  CHECK(pthread_kill(pthread_self(), SIGUSR1) == 0);
  CHECK(pthread_kill(pthread_self(), SIGUSR1) == 0);  // not queued
  CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1) == 1 && sigismember(&pending, SIGHUP) == 0);
  CHECK(pthread_sigmask(SIG_SETMASK, &old, NULL) == 0);
  CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1) == 0);
  sigset_t all;
  sigfillset(&all);
  CHECK(pthread_sigmask(SIG_BLOCK, &all, &old) == 0);
  CHECK(getppid() > 0);  // system calls still work
  char byte;
  CHECK(read(-1, &byte, 1) == -1 && errno == EBADF);
  CHECK(pthread_sigmask(SIG_BLOCK, NULL, &all) == 0);
  CHECK(sigismember(&all, SIGTERM) == 1 && sigismember(&all, SIGKILL) == 0);
  CHECK(pthread_sigmask(SIG_SETMASK, &old, NULL) == 0);
  return NULL;
}

static void* kill_process(void* argument) {
  (void)argument;
  CHECK(kill(getpid(), SIGUSR2) == 0);
  return NULL;
}

int main(void) {
  struct sigaction action = {.sa_handler = handler};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && sigaction(SIGUSR2, &action, NULL) == 0);
  sigset_t set = only(SIGUSR2), pending;
  CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
  printf("count %d\n", count);
  join(start(kill_process, NULL));
  CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR2) == 1);
  CHECK(count == kThreads);
  CHECK(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0);
  CHECK(count == kThreads + 1);
  puts("ok");
  return 0;
}
