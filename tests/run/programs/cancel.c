// Cancellation: deferred, while blocked in read and in pthread_cond_wait, disabled for a time, asynchronous; cleanup
// handlers.
#include "check.h"

static int pipe_ends[2];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static volatile int cleaned, reached, asked;

static void clean(void* argument) { cleaned += (int)(long)argument; }
static void unlock(void* argument) { pthread_mutex_unlock(argument); }

static void* in_read(void* argument) {
  (void)argument;
  char byte;
  pthread_cleanup_push(clean, (void*)1);
  pthread_cleanup_push(clean, (void*)10);
  reached = 1;
  CHECK(read(pipe_ends[0], &byte, 1) != 0);
  CHECK(!"read returned");
  pthread_cleanup_pop(0);
  pthread_cleanup_pop(0);
  return NULL;
}

static void* in_wait(void* argument) {
  (void)argument;
  pthread_mutex_lock(&mutex);
  pthread_cleanup_push(unlock, &mutex);
  reached = 1;
  for (;;) pthread_cond_wait(&never, &mutex);
  pthread_cleanup_pop(0);
  return NULL;
}

static void* in_sleep(void* argument) {
  (void)argument;
  reached = 1;
  sleep(1000);
  return NULL;
}

static void* disabled(void* argument) {
  (void)argument;
  int old;
  CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old) == 0);
  reached = 1;
  while (!asked) pause_ms(1);
  pthread_testcancel();
  clean((void*)100);
  CHECK(pthread_setcancelstate(old, NULL) == 0);
  pthread_testcancel();
  CHECK(!"not cancelled");
  return NULL;
}

static void* asynchronous(void* argument) {
  (void)argument;
  CHECK(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL) == 0);
  reached = 1;
  for (;;) __asm__ volatile("pause");
  return NULL;
}

static void* waits_for_join(void* argument) {
  reached = 1;
  pthread_join(*(pthread_t*)argument, NULL);
  return NULL;
}

static void cancel(const char* name, void* (*body)(void*), void* argument) {
  for (int late = 0; late < 2; ++late) {
    cleaned = reached = asked = 0;
    const pthread_t thread = start(body, argument);
    if (late || body == asynchronous || body == disabled) {
      while (!reached) pause_ms(1);
      pause_ms(10);
    }
    CHECK(pthread_cancel(thread) == 0);
    asked = 1;
    CHECK(join(thread) == PTHREAD_CANCELED);
    if (late) printf("%s cleaned %d\n", name, cleaned);
  }
}

int main(void) {
  CHECK(pipe(pipe_ends) == 0);
  cancel("read", in_read, NULL);
  cancel("wait", in_wait, NULL);
  CHECK(pthread_mutex_trylock(&mutex) == 0);
  cancel("sleep", in_sleep, NULL);
  cancel("disabled", disabled, NULL);
  cancel("asynchronous", asynchronous, NULL);
  pthread_t sleeper = start(in_sleep, NULL);
  cancel("join", waits_for_join, &sleeper);
  CHECK(pthread_cancel(sleeper) == 0 && join(sleeper) == PTHREAD_CANCELED);
  return 0;
}
