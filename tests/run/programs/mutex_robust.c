// Robust mutexes: the owner ends without unlocking; a waiting and a later thread are told.
#include "check.h"

static pthread_mutex_t mutex, second;
static pthread_barrier_t taken;

static void* die_holding(void* argument) {
  (void)argument;
  CHECK(pthread_mutex_lock(&mutex) == 0);
  CHECK(pthread_mutex_lock(&second) == 0);
  pthread_barrier_wait(&taken);
  pause_ms(30);
  return NULL;
}

static void* die_quietly(void* argument) {
  (void)argument;
  CHECK(pthread_mutex_lock(&mutex) == 0);
  return NULL;
}

int main(void) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  CHECK(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0);
  CHECK(pthread_mutex_init(&mutex, &attributes) == 0);
  CHECK(pthread_mutex_init(&second, &attributes) == 0);
  pthread_barrier_init(&taken, NULL, 2);
  const pthread_t owner = start(die_holding, NULL);
  pthread_barrier_wait(&taken);
  CHECK(pthread_mutex_lock(&mutex) == EOWNERDEAD);  // waits first
  CHECK(pthread_mutex_consistent(&mutex) == 0);
  CHECK(pthread_mutex_unlock(&mutex) == 0);
  join(owner);
  CHECK(pthread_mutex_trylock(&second) == EOWNERDEAD);
  CHECK(pthread_mutex_unlock(&second) == 0);  // not made consistent
  CHECK(pthread_mutex_lock(&second) == ENOTRECOVERABLE);

  for (int i = 0; i < 20; ++i) {
    join(start(die_quietly, NULL));
    CHECK(pthread_mutex_lock(&mutex) == EOWNERDEAD);
    CHECK(pthread_mutex_consistent(&mutex) == 0);
    CHECK(pthread_mutex_unlock(&mutex) == 0);
  }
  puts("ok");
  return 0;
}
