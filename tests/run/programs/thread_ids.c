// Thread and process ids: one process, as many thread ids as threads, the main thread's is the process's.
#define _GNU_SOURCE
#include <sys/syscall.h>

#include "check.h"

static pid_t process_id;
static pid_t ids[kThreads];
static pthread_barrier_t all_alive;

static void* body(void* argument) {
  ids[(long)argument] = gettid();
  CHECK(getpid() == process_id);
  CHECK(syscall(SYS_gettid) == ids[(long)argument]);
  pthread_barrier_wait(&all_alive);
  return NULL;
}

int main(void) {
  process_id = getpid();
  CHECK(gettid() == process_id);
  pthread_barrier_init(&all_alive, NULL, kThreads);
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
  for (int i = 0; i < kThreads; ++i) {
    CHECK(ids[i] > 0 && ids[i] != process_id);
    for (int j = 0; j < i; ++j) CHECK(ids[i] != ids[j]);
  }
  puts("ok");
  return 0;
}
