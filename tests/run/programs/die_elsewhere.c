// A signal to the process that the first thread blocks and none handles ends it, by way of another thread.
#include <signal.h>

#include "check.h"

static void* waits(void* argument) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  CHECK(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
  CHECK(kill(getpid(), SIGTERM) == 0);
  for (;;) pause_ms(1000);
  return argument;
}

int main(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
  puts("it ends");
  fflush(stdout);
  join(start(waits, NULL));
  return 1;
}
