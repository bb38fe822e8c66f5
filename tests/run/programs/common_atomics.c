// Memory that threads anywhere and forked children have together: stores of the one are seen by the other without any
// system call, and atomic operations are atomic across all.
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "check.h"

enum { kChildren = 2, kRounds = 2000 };

struct shared {
  atomic_long sum, turn, spins;
  atomic_int go;
  char other_page[8192];
  atomic_long far;
};

static struct shared* all;
static atomic_long of_threads;  // not shared with the children

static void add(void) {
  while (atomic_load(&all->go) == 0) sched_yield();
  for (int i = 0; i < kRounds; ++i) {
    atomic_fetch_add(&all->sum, 1);
    long seen = atomic_load(&all->far);
    while (!atomic_compare_exchange_weak(&all->far, &seen, seen + 3)) continue;
  }
}

static void* body(void* argument) {
  (void)argument;
  add();
  atomic_fetch_add(&of_threads, 1);
  return NULL;
}

// Hands a number to and fro; `me` is whose turn is odd or even.
static void hand_over(long me) {
  for (long i = 0; i < 50; ++i) {
    while (atomic_load(&all->turn) % 2 != me) sched_yield();
    atomic_fetch_add(&all->turn, 1);
  }
}

static void* hand_over_as_thread(void* argument) {
  (void)argument;
  hand_over(1);
  return NULL;
}

int main(void) {
  all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(all != MAP_FAILED);
  atomic_store(&all->sum, 5);
  pthread_t threads[kThreads];
  start_all(threads, body);  // before there are children
  pid_t children[kChildren];
  for (int i = 0; i < kChildren; ++i) {
    children[i] = fork();
    if (children[i] == 0) {
      add();
      if (i == 0) hand_over(0);
      _exit(0);
    }
  }
  const pthread_t player = start(hand_over_as_thread, NULL);
  atomic_store(&all->go, 1);
  join_all(threads);
  join(player);
  for (int i = 0; i < kChildren; ++i) {
    int status;
    CHECK(waitpid(children[i], &status, 0) == children[i] && status == 0);
  }
  printf("%ld %ld %ld %ld\n", atomic_load(&all->sum), atomic_load(&all->far), atomic_load(&all->turn),
         atomic_load(&of_threads));
  return 0;
}
