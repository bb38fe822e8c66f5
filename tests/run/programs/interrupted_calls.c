// A handler interrupts a blocked call with EINTR, or the call goes on with SA_RESTART; also on other nodes.
#define _GNU_SOURCE
#include <poll.h>
#include <semaphore.h>

#include "interrupt.h"

static int ends[2];
static volatile sig_atomic_t handled, blocked;
static sem_t semaphore;
static void handler(int signal) {
  (void)signal;
  ++handled;
}

static void* interrupted_read(void* argument) {
  (void)argument;
  char byte;
  blocked = 1;
  CHECK(read(ends[0], &byte, 1) == -1 && errno == EINTR);
  return NULL;
}

static void* restarted_read(void* argument) {
  (void)argument;
  char byte = 0;
  blocked = 1;
  CHECK(read(ends[0], &byte, 1) == 1 && byte == 'x' && handled == 1);
  return NULL;
}

static void* interrupted_sleep(void* argument) {
  (void)argument;
  struct timespec left, whole = {.tv_sec = 30};
  blocked = 1;
  CHECK(nanosleep(&whole, &left) == -1 && errno == EINTR && left.tv_sec >= 20 && left.tv_sec < 30);
  return NULL;
}

static void* interrupted_poll(void* argument) {
  (void)argument;
  struct pollfd item = {.fd = ends[0], .events = POLLIN};
  blocked = 1;
  CHECK(poll(&item, 1, 30000) == -1 && errno == EINTR);
  return NULL;
}

static void* interrupted_semaphore(void* argument) {
  (void)argument;
  blocked = 1;
  CHECK(sem_wait(&semaphore) == -1 && errno == EINTR);
  return NULL;
}

static void* not_interrupted_lock(void* argument) {
  blocked = 1;
  CHECK(pthread_mutex_lock(argument) == 0 && handled == 1);
  CHECK(pthread_mutex_unlock(argument) == 0);
  return NULL;
}

// In its call, or about to make it.
static pthread_t blocked_thread(void* (*body)(void*), void* argument) {
  handled = blocked = 0;
  const pthread_t thread = start(body, argument);
  while (!blocked) pause_ms(1);
  pause_ms(20);
  return thread;
}

static void have_handled(pthread_t thread, int signal) {
  CHECK(pthread_kill(thread, signal) == 0);
  while (!handled) pause_ms(1);
  pause_ms(5);
}

int main(void) {
  CHECK(pipe(ends) == 0 && sem_init(&semaphore, 0, 0) == 0);
  struct sigaction action = {.sa_handler = handler};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  action.sa_flags = SA_RESTART;
  CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  for (int round = 0; round < 4; ++round) {
    interrupt(blocked_thread(interrupted_read, NULL), SIGUSR1);
    const pthread_t restarted = blocked_thread(restarted_read, NULL);
    have_handled(restarted, SIGUSR2);
    CHECK(write(ends[1], "x", 1) == 1);
    join(restarted);
    interrupt(blocked_thread(interrupted_sleep, NULL), SIGUSR1);
    interrupt(blocked_thread(interrupted_poll, NULL), SIGUSR2);  // never restarted
    interrupt(blocked_thread(interrupted_semaphore, NULL), SIGUSR1);
    pthread_mutex_lock(&mutex);
    const pthread_t locker = blocked_thread(not_interrupted_lock, &mutex);
    have_handled(locker, SIGUSR1);
    pthread_mutex_unlock(&mutex);
    join(locker);
  }
  puts("ok");
  return 0;
}
