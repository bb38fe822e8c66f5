// _exit by a thread: no handlers, no flush.
#include "check.h"

static void* ends(void* argument) {
  (void)argument;
  printf("this stays in the buffer");
  _exit(17);
}

static void handler(void) { puts("never"); }

int main(void) {
  setvbuf(stdout, NULL, _IOFBF, 4096);
  atexit(handler);
  for (int i = 0; i < 3; ++i) join(start((void* (*)(void*))sleep, (void*)0));
  start(ends, NULL);
  for (;;) pause();
}
