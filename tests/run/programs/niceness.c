// Threads and children have the niceness of the process, wherever they run.
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static int expected;

static void *run(void *unused) {
  (void)unused;
  CHECK(getpriority(PRIO_PROCESS, 0) == expected);
  const pid_t child = fork();
  if (child == 0) _exit(getpriority(PRIO_PROCESS, 0) == expected ? 0 : 1);
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  return NULL;
}

int main(void) {
  expected = getpriority(PRIO_PROCESS, 0);
  for (int i = 0; i < 4; ++i) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
  }
  puts("ok");
  return 0;
}
