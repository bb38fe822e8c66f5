// A named semaphore is a shared file mapping; threads post and wait on it.
#include <fcntl.h>
#include <semaphore.h>

#include "check.h"

static sem_t* semaphore;

static void* post(void* argument) {
  (void)argument;
  for (int i = 0; i < 10; ++i) CHECK(sem_post(semaphore) == 0);
  return NULL;
}

int main(void) {
  char name[64];
  snprintf(name, sizeof name, "/gallocy-run-test-%d", (int)getpid());
  semaphore = sem_open(name, O_CREAT | O_EXCL, 0600, 0);
  CHECK(semaphore != SEM_FAILED);
  CHECK(sem_open(name, 0) == semaphore);
  CHECK(sem_unlink(name) == 0);
  pthread_t threads[kThreads];
  start_all(threads, post);
  for (int i = 0; i < 10 * kThreads; ++i) CHECK(sem_wait(semaphore) == 0);
  join_all(threads);
  CHECK(sem_trywait(semaphore) == -1 && errno == EAGAIN);
  CHECK(sem_close(semaphore) == 0);
  puts("ok");
  return 0;
}
