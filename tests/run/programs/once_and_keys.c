// pthread_once, and keys: a value per thread, destructors at the thread's end, repeated while they set values.
#include "check.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key, again;
static int initialised, destroyed, rounds;

static void initialise(void) {
  pause_ms(10);
  ++initialised;
}

static void destroy(void* value) {
  free(value);
  __atomic_add_fetch(&destroyed, 1, __ATOMIC_SEQ_CST);
}

static void set_again(void* value) {
  if (__atomic_add_fetch(&rounds, 1, __ATOMIC_SEQ_CST) % 2 == 1) pthread_setspecific(again, value);
}

static void* body(void* argument) {
  CHECK(pthread_once(&once, initialise) == 0);
  CHECK(initialised == 1);
  CHECK(pthread_getspecific(key) == NULL);
  long* const value = malloc(sizeof *value);
  *value = (long)argument;
  CHECK(pthread_setspecific(key, value) == 0);
  pause_ms(1);
  CHECK(*(long*)pthread_getspecific(key) == (long)argument);
  return NULL;
}

static void* repeats(void* argument) {
  CHECK(pthread_setspecific(again, argument) == 0);
  return NULL;
}

int main(void) {
  CHECK(pthread_key_create(&key, destroy) == 0 && pthread_key_create(&again, set_again) == 0);
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
  printf("initialised %d destroyed %d\n", initialised, destroyed);
  join(start(repeats, &rounds));
  printf("rounds %d\n", rounds);
  CHECK(pthread_key_delete(key) == 0);
  puts("ok");
  return 0;
}
