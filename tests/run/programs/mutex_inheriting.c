// Mutexes with priority inheritance: the kernel's futex keeps the owner's thread id.
#include "check.h"

static pthread_mutex_t mutex;
static long counter;

static void* add(void* argument) {
  (void)argument;
  for (int i = 0; i < 300; ++i) {
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

int main(void) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  CHECK(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT) == 0);
  CHECK(pthread_mutex_init(&mutex, &attributes) == 0);
  pthread_t threads[kThreads];
  start_all(threads, add);
  join_all(threads);
  printf("%ld\n", counter);
  pthread_mutex_lock(&mutex);
  join(start(try_busy, NULL));
  pthread_mutex_unlock(&mutex);
  puts("ok");
  return 0;
}
