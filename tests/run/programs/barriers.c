// Barriers and spinlocks: phases over shared arrays; exactly one serial thread per phase.
#include "check.h"

enum { kPhases = 30 };
static pthread_barrier_t barrier;
static pthread_spinlock_t spin;
static int cells[2][kThreads];
static int serial, counter;

static void* phases(void* argument) {
  const int me = (int)(long)argument;
  for (int phase = 0; phase < kPhases; ++phase) {
    const int* const from = cells[phase % 2];
    cells[1 - phase % 2][me] = from[(me + 1) % kThreads] + from[me];
    const int result = pthread_barrier_wait(&barrier);
    CHECK(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
    if (result == PTHREAD_BARRIER_SERIAL_THREAD) __atomic_fetch_add(&serial, 1, __ATOMIC_RELAXED);
  }
  return NULL;
}

static void* spins(void* argument) {
  (void)argument;
  for (int i = 0; i < 100; ++i) {
    pthread_spin_lock(&spin);
    ++counter;
    pthread_spin_unlock(&spin);
  }
  return NULL;
}

int main(void) {
  pthread_t threads[kThreads];
  pthread_barrier_init(&barrier, NULL, kThreads);
  cells[0][0] = 1;
  start_all(threads, phases);
  join_all(threads);
  for (int i = 0; i < kThreads; ++i) printf("%d ", cells[kPhases % 2][i]);
  printf("serial %d\n", serial);
  CHECK(pthread_barrier_destroy(&barrier) == 0);
  pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE);
  start_all(threads, spins);
  join_all(threads);
  printf("counter %d\n", counter);
  CHECK(pthread_spin_trylock(&spin) == 0 && pthread_spin_trylock(&spin) == EBUSY);
  puts("ok");
  return 0;
}
