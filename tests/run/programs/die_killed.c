// A thread kills its own process with SIGTERM; the default ends it.
#include <signal.h>

#include "check.h"
static void* body(void* argument) {
  (void)argument;
  kill(getpid(), SIGTERM);
  for (;;) pause();
  return NULL;
}
int main(void) {
  start((void* (*)(void*))sleep, (void*)100);
  join(start(body, NULL));
  puts("after");
  return 0;
}
