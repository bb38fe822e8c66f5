// The main thread leaves with pthread_exit; the others go on, and the last one to end makes the status 0.
#include "check.h"

static pthread_t main_thread;

static void* body(void* argument) {
  (void)argument;
  CHECK(pthread_join(main_thread, NULL) == 0);
  pause_ms(20);
  puts("the main thread has ended");
  return NULL;
}

static void at_end(void) { puts("handler"); }

int main(void) {
  atexit(at_end);
  main_thread = pthread_self();
  start(body, NULL);
  pthread_exit(NULL);
}
