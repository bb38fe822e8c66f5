// Mutexes: normal, recursive, error-checking, adaptive; trylock and timedlock.
#define _GNU_SOURCE
#include "check.h"

static pthread_mutex_t mutex;
static long counter;

static void* add(void* argument) {
  (void)argument;
  for (int i = 0; i < 500; ++i) {
    CHECK(pthread_mutex_lock(&mutex) == 0);
    ++counter;
    CHECK(pthread_mutex_unlock(&mutex) == 0);
  }
  return NULL;
}

static void* try_busy(void* argument) {
  (void)argument;
  CHECK(pthread_mutex_trylock(&mutex) == EBUSY);
  const struct timespec soon = after_ms(CLOCK_REALTIME, 20);
  CHECK(pthread_mutex_timedlock(&mutex, &soon) == ETIMEDOUT);
  return NULL;
}

static void* unlock_not_owned(void* argument) {
  (void)argument;
  CHECK(pthread_mutex_unlock(&mutex) == EPERM);
  return NULL;
}

static void make(int type, int protocol) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  CHECK(pthread_mutexattr_settype(&attributes, type) == 0);
  CHECK(pthread_mutexattr_setprotocol(&attributes, protocol) == 0);
  CHECK(pthread_mutex_init(&mutex, &attributes) == 0);
}

static void contend(const char* name) {
  pthread_t threads[kThreads];
  counter = 0;
  start_all(threads, add);
  join_all(threads);
  printf("%s %ld\n", name, counter);
  pthread_mutex_lock(&mutex);
  join(start(try_busy, NULL));
  pthread_mutex_unlock(&mutex);
}

int main(void) {
  make(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE);
  contend("normal");
  make(PTHREAD_MUTEX_ADAPTIVE_NP, PTHREAD_PRIO_NONE);
  contend("adaptive");
  make(PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE);
  contend("recursive");
  CHECK(pthread_mutex_lock(&mutex) == 0 && pthread_mutex_lock(&mutex) == 0);
  CHECK(pthread_mutex_unlock(&mutex) == 0);
  join(start(try_busy, NULL));
  join(start(unlock_not_owned, NULL));
  CHECK(pthread_mutex_unlock(&mutex) == 0);
  CHECK(pthread_mutex_unlock(&mutex) == EPERM);
  make(PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_NONE);
  contend("errorcheck");
  CHECK(pthread_mutex_lock(&mutex) == 0 && pthread_mutex_lock(&mutex) == EDEADLK);
  join(start(unlock_not_owned, NULL));
  CHECK(pthread_mutex_unlock(&mutex) == 0);
  puts("ok");
  return 0;
}
