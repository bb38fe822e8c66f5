// C11 threads: thrd, mtx, cnd, tss, call_once.
#include <threads.h>

#include "check.h"

static mtx_t mutex;
static cnd_t changed;
static tss_t slot;
static once_flag once = ONCE_FLAG_INIT;
static int ready, started, destroyed;
static _Thread_local volatile int own;

static void count_start(void) { ++started; }
static void count_end(void* value) {
  (void)value;
  __atomic_add_fetch(&destroyed, 1, __ATOMIC_SEQ_CST);
}

static int body(void* argument) {
  call_once(&once, count_start);
  own = *(int*)argument;
  tss_set(slot, argument);
  mtx_lock(&mutex);
  while (!ready) cnd_wait(&changed, &mutex);
  mtx_unlock(&mutex);
  CHECK(tss_get(slot) == argument);
  if (own == 3) thrd_exit(33);
  return own;
}

int main(void) {
  CHECK(mtx_init(&mutex, mtx_timed) == thrd_success && cnd_init(&changed) == thrd_success);
  CHECK(tss_create(&slot, count_end) == thrd_success);
  thrd_t threads[kThreads];
  int arguments[kThreads];
  for (int i = 0; i < kThreads; ++i) {
    arguments[i] = i;
    CHECK(thrd_create(&threads[i], body, &arguments[i]) == thrd_success);
  }
  thrd_sleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
  mtx_lock(&mutex);
  ready = 1;
  cnd_broadcast(&changed);
  struct timespec soon;
  timespec_get(&soon, TIME_UTC);
  mtx_unlock(&mutex);
  for (int i = 0; i < kThreads; ++i) {
    int result;
    CHECK(thrd_join(threads[i], &result) == thrd_success);
    printf("%d ", result);
  }
  printf("started %d destroyed %d\n", started, destroyed);
  return 0;
}
