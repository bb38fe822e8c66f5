// POSIX timers: SIGEV_THREAD, SIGEV_SIGNAL, SIGEV_THREAD_ID, SIGEV_NONE; overrun, gettime, delete.
#define _GNU_SOURCE
#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>

#include "check.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static sem_t fired;
static volatile sig_atomic_t signals, wrong_thread;
static _Thread_local volatile int owner;

static void notify(union sigval value) {
  CHECK(value.sival_int == 8);
  sem_post(&fired);
}

static void handler(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)context;
  CHECK(info->si_code == SI_TIMER && info->si_value.sival_int == 5);
  ++signals;
}

static void thread_handler(int signal) {
  (void)signal;
  if (!owner) ++wrong_thread;
  ++owner;
}

static void* own_timer(void* argument) {
  (void)argument;
  owner = 1;
  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2};
  event.sigev_notify_thread_id = gettid();
  timer_t timer;
  CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
  const struct itimerspec often = {{.tv_nsec = 5000000}, {.tv_nsec = 5000000}};
  CHECK(timer_settime(timer, 0, &often, NULL) == 0);
  while (owner < 4) pause_ms(1);
  CHECK(timer_delete(timer) == 0);
  return NULL;
}

int main(void) {
  sem_init(&fired, 0, 0);
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  struct sigaction own = {.sa_handler = thread_handler, .sa_flags = SA_RESTART};
  CHECK(sigaction(SIGUSR2, &own, NULL) == 0);
  const struct itimerspec often = {{.tv_nsec = 5000000}, {.tv_nsec = 5000000}};
  timer_t timer;

  struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = notify, .sigev_value.sival_int = 8};
  CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &often, NULL) == 0);
  for (int i = 0; i < 5; ++i) CHECK(sem_wait(&fired) == 0);
  CHECK(timer_delete(timer) == 0);

  event = (struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 5};
  CHECK(timer_create(CLOCK_REALTIME, &event, &timer) == 0 && timer_settime(timer, 0, &often, NULL) == 0);
  while (signals < 3) pause_ms(1);
  struct itimerspec left;
  CHECK(timer_gettime(timer, &left) == 0 && left.it_interval.tv_nsec == 5000000 && timer_getoverrun(timer) >= 0);
  CHECK(timer_delete(timer) == 0);

  pthread_t threads[4];
  for (int i = 0; i < 4; ++i) threads[i] = start(own_timer, NULL);
  for (int i = 0; i < 4; ++i) join(threads[i]);
  CHECK(wrong_thread == 0);
  puts("ok");
  return 0;
}
