// Semaphores: ping-pong between threads, a limit on how many are inside, try and timed waits.
#include <semaphore.h>

#include "check.h"

static sem_t ping, pong, room;
static int inside, most, exchanges;

static void* answer(void* argument) {
  (void)argument;
  for (int i = 0; i < 200; ++i) {
    CHECK(sem_wait(&ping) == 0);
    ++exchanges;
    CHECK(sem_post(&pong) == 0);
  }
  return NULL;
}

static void* enter(void* argument) {
  (void)argument;
  for (int i = 0; i < 20; ++i) {
    CHECK(sem_wait(&room) == 0);
    const int now = __atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST);
    if (now > __atomic_load_n(&most, __ATOMIC_SEQ_CST)) __atomic_store_n(&most, now, __ATOMIC_SEQ_CST);
    __atomic_sub_fetch(&inside, 1, __ATOMIC_SEQ_CST);
    CHECK(sem_post(&room) == 0);
  }
  return NULL;
}

int main(void) {
  CHECK(sem_init(&ping, 0, 0) == 0 && sem_init(&pong, 0, 0) == 0 && sem_init(&room, 0, 3) == 0);
  const pthread_t other = start(answer, NULL);
  for (int i = 0; i < 200; ++i) {
    CHECK(sem_post(&ping) == 0);
    CHECK(sem_wait(&pong) == 0);
    CHECK(exchanges == i + 1);
  }
  join(other);
  pthread_t threads[kThreads];
  start_all(threads, enter);
  join_all(threads);
  CHECK(most >= 1 && most <= 3);
  int value = 0;
  CHECK(sem_getvalue(&room, &value) == 0);
  printf("room %d\n", value);
  CHECK(sem_trywait(&ping) == -1 && errno == EAGAIN);
  const struct timespec soon = after_ms(CLOCK_REALTIME, 20);
  CHECK(sem_timedwait(&ping, &soon) == -1 && errno == ETIMEDOUT);
  puts("ok");
  return 0;
}
