// Condition variables: signal, broadcast, a queue with many producers and consumers, timed waits on both clocks.
#include "check.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t not_empty = PTHREAD_COND_INITIALIZER, not_full = PTHREAD_COND_INITIALIZER;
static long queue[4], head, tail, sum;
static int turn, released, waiting;

static void* produce(void* argument) {
  (void)argument;
  for (long i = 1; i <= 200; ++i) {
    pthread_mutex_lock(&mutex);
    while (tail - head == 4) pthread_cond_wait(&not_full, &mutex);
    queue[tail++ % 4] = i;
    pthread_cond_signal(&not_empty);
    pthread_mutex_unlock(&mutex);
  }
  return NULL;
}

static void* consume(void* argument) {
  (void)argument;
  for (int i = 0; i < 200; ++i) {
    pthread_mutex_lock(&mutex);
    while (tail == head) pthread_cond_wait(&not_empty, &mutex);
    sum += queue[head++ % 4];
    pthread_cond_signal(&not_full);
    pthread_mutex_unlock(&mutex);
  }
  return NULL;
}

static void* produce_or_consume(void* argument) {
  return (long)argument % 2 == 0 ? produce(argument) : consume(argument);
}

static void* in_turn(void* argument) {
  const int me = (int)(long)argument;
  pthread_mutex_lock(&mutex);
  while (turn != me) pthread_cond_wait(&not_empty, &mutex);
  printf("turn %d\n", me);
  ++turn;
  pthread_cond_broadcast(&not_empty);
  pthread_mutex_unlock(&mutex);
  return NULL;
}

static void* wait_release(void* argument) {
  (void)argument;
  pthread_mutex_lock(&mutex);
  ++waiting;
  while (!released) pthread_cond_wait(&not_full, &mutex);
  --waiting;
  pthread_mutex_unlock(&mutex);
  return NULL;
}

static void* wait_timed(void* argument) {
  (void)argument;
  pthread_cond_t never = PTHREAD_COND_INITIALIZER, monotonic;
  pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&monotonic, &attributes);
  pthread_mutex_lock(&own);
  struct timespec begin = after_ms(CLOCK_MONOTONIC, 0), until = after_ms(CLOCK_REALTIME, 50);
  int error;
  while ((error = pthread_cond_timedwait(&never, &own, &until)) == 0) continue;
  CHECK(error == ETIMEDOUT && ms_since(CLOCK_MONOTONIC, begin) >= 48);
  begin = after_ms(CLOCK_MONOTONIC, 0), until = after_ms(CLOCK_MONOTONIC, 50);
  while ((error = pthread_cond_timedwait(&monotonic, &own, &until)) == 0) continue;
  CHECK(error == ETIMEDOUT && ms_since(CLOCK_MONOTONIC, begin) >= 49);
  CHECK(pthread_mutex_trylock(&own) == EBUSY);  // held again
  pthread_mutex_unlock(&own);
  return NULL;
}

int main(void) {
  pthread_t threads[kThreads];
  start_all(threads, produce_or_consume);
  join_all(threads);
  printf("sum %ld\n", sum);
  start_all(threads, in_turn);
  join_all(threads);
  start_all(threads, wait_release);
  for (int ready = 0; !ready;) {
    pthread_mutex_lock(&mutex);
    ready = waiting == kThreads;
    released = ready;
    if (ready) pthread_cond_broadcast(&not_full);
    pthread_mutex_unlock(&mutex);
    pause_ms(1);
  }
  join_all(threads);
  start_all(threads, wait_timed);
  join_all(threads);
  puts("ok");
  return 0;
}
