// exit called by a thread while others run: atexit handlers and stdio run there, the status is the program's.
#include "check.h"

static void* forever(void* argument) {
  (void)argument;
  for (;;) pause_ms(1000);
  return NULL;
}

static void* spin(void* argument) {
  (void)argument;
  for (;;) __asm__ volatile("pause");
  return NULL;
}

static void* ends(void* argument) {
  (void)argument;
  printf("not flushed yet");
  exit(42);
}

static void first(void) { printf(", first handler\n"); }
static void second(void) { printf(", second handler"); }

int main(void) {
  atexit(first);
  atexit(second);
  for (int i = 0; i < 5; ++i) start(forever, NULL);
  start(spin, NULL);
  start(ends, NULL);
  for (;;) pause();
}
