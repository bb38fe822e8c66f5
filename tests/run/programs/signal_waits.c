// Waiting for signals: sigsuspend, pause, sigwait in a thread of its own, sigwaitinfo, sigtimedwait, signalfd.
#define _GNU_SOURCE
#include <sys/signalfd.h>

#include "interrupt.h"

static volatile sig_atomic_t count;
static void handler(int signal) {
  (void)signal;
  ++count;
}

static sigset_t only(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  return set;
}

static void* waiter(void* argument) {
  (void)argument;
  const sigset_t set = only(SIGUSR1);
  int signal, sum = 0;
  for (int i = 0; i < 20; ++i) {
    CHECK(sigwait(&set, &signal) == 0);
    sum += signal == SIGUSR1;
    __atomic_store_n(&count, i + 1, __ATOMIC_SEQ_CST);
  }
  return (void*)(long)sum;
}

static void* suspends(void* argument) {
  (void)argument;
  sigset_t set = only(SIGUSR2), old;
  CHECK(pthread_sigmask(SIG_BLOCK, &set, &old) == 0);
  CHECK(pthread_kill(pthread_self(), SIGUSR2) == 0);
  count = 0;
  sigdelset(&old, SIGUSR2);
  CHECK(sigsuspend(&old) == -1 && errno == EINTR && count == 1);
  CHECK(pthread_sigmask(SIG_BLOCK, NULL, &old) == 0 && sigismember(&old, SIGUSR2) == 1);
  return NULL;
}

static void* wait_all_ways(void* argument) {
  (void)argument;
  const sigset_t set = only(SIGRTMIN);
  siginfo_t info;
  const struct timespec soon = {.tv_nsec = 20000000}, now = {0};
  CHECK(sigtimedwait(&set, &info, &soon) == -1 && errno == EAGAIN);
  CHECK(sigtimedwait(&set, &info, &now) == -1 && errno == EAGAIN);
  for (int i = 1; i <= 3; ++i) CHECK(pthread_sigqueue(pthread_self(), SIGRTMIN, (union sigval){.sival_int = i}) == 0);
  for (int i = 1; i <= 3; ++i)
    CHECK(sigwaitinfo(&set, &info) == SIGRTMIN && info.si_value.sival_int == i && info.si_code == SI_QUEUE);
  return NULL;
}

static void* pauses(void* argument) {
  (void)argument;
  count = 1000;
  CHECK(pause() == -1 && errno == EINTR);
  return NULL;
}

int main(void) {
  struct sigaction action = {.sa_handler = handler};
  CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
  sigset_t set = only(SIGUSR1);
  sigaddset(&set, SIGRTMIN);
  sigaddset(&set, SIGHUP);
  CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
  pthread_t thread = start(waiter, NULL);
  for (int i = 0; i < 20; ++i) {
    CHECK(i % 2 == 0 ? kill(getpid(), SIGUSR1) == 0 : pthread_kill(thread, SIGUSR1) == 0);
    while (__atomic_load_n(&count, __ATOMIC_SEQ_CST) != i + 1) pause_ms(1);
  }
  printf("waited %ld\n", (long)join(thread));
  for (int i = 0; i < 4; ++i) join(start(suspends, NULL));
  for (int i = 0; i < 4; ++i) join(start(wait_all_ways, NULL));
  thread = start(pauses, NULL);
  while (count != 1000) pause_ms(1);
  interrupt(thread, SIGUSR2);
  set = only(SIGHUP);
  const int fd = signalfd(-1, &set, SFD_CLOEXEC);
  CHECK(fd >= 0 && kill(getpid(), SIGHUP) == 0);
  struct signalfd_siginfo read_info;
  CHECK(read(fd, &read_info, sizeof read_info) == sizeof read_info && read_info.ssi_signo == SIGHUP);
  puts("ok");
  return 0;
}
