// SIGPIPE: handled, ignored (EPIPE), and its default, which ends the program.
#include <signal.h>

#include "check.h"

static int ends[2];
static volatile sig_atomic_t handled;
static void handler(int signal) { handled += signal == SIGPIPE; }

static void* write_it(void* argument) {
  (void)argument;
  CHECK(write(ends[1], "x", 1) == -1 && errno == EPIPE);
  return NULL;
}

int main(void) {
  CHECK(pipe(ends) == 0 && close(ends[0]) == 0);
  signal(SIGPIPE, SIG_IGN);
  join(start(write_it, NULL));
  CHECK(handled == 0);
  signal(SIGPIPE, handler);
  for (int i = 0; i < kThreads; ++i) join(start(write_it, NULL));
  printf("handled %d\n", handled);
  fflush(stdout);
  signal(SIGPIPE, SIG_DFL);
  join(start(write_it, NULL));
  return 0;
}
