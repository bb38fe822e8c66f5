// Read-write locks: readers together, writers alone, try and timed forms.
#include "check.h"

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t all_read;
static long first, second;

static void* read_and_write(void* argument) {
  for (int i = 0; i < 200; ++i) {
    if ((i + (long)argument) % 4 == 0) {
      CHECK(pthread_rwlock_wrlock(&lock) == 0);
      ++first;
      ++second;
    } else {
      CHECK(pthread_rwlock_rdlock(&lock) == 0);
      CHECK(first == second);
    }
    CHECK(pthread_rwlock_unlock(&lock) == 0);
  }
  return NULL;
}

static void* read_together(void* argument) {
  (void)argument;
  CHECK(pthread_rwlock_rdlock(&lock) == 0);
  pthread_barrier_wait(&all_read);  // all hold it
  CHECK(pthread_rwlock_trywrlock(&lock) == EBUSY);
  pthread_barrier_wait(&all_read);
  CHECK(pthread_rwlock_unlock(&lock) == 0);
  return NULL;
}

static void* try_while_written(void* argument) {
  (void)argument;
  CHECK(pthread_rwlock_tryrdlock(&lock) == EBUSY);
  const struct timespec soon = after_ms(CLOCK_REALTIME, 20);
  CHECK(pthread_rwlock_timedrdlock(&lock, &soon) == ETIMEDOUT);
  CHECK(pthread_rwlock_timedwrlock(&lock, &soon) == ETIMEDOUT);
  return NULL;
}

int main(void) {
  pthread_t threads[kThreads];
  start_all(threads, read_and_write);
  join_all(threads);
  printf("%ld %ld\n", first, second);
  pthread_barrier_init(&all_read, NULL, kThreads);
  start_all(threads, read_together);
  join_all(threads);
  CHECK(pthread_rwlock_wrlock(&lock) == 0);
  join(start(try_while_written, NULL));
  CHECK(pthread_rwlock_unlock(&lock) == 0);
  puts("ok");
  return 0;
}
