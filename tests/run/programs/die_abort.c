// abort in a thread ends the program with SIGABRT, and a handler of SIGABRT runs first.
#include <signal.h>

#include "check.h"
static void handler(int signal) {
  (void)signal;
  CHECK(write(1, "handler\n", 8) == 8);
}
static void* body(void* argument) {
  (void)argument;
  abort();
}
int main(void) {
  signal(SIGABRT, handler);
  start((void* (*)(void*))sleep, (void*)100);
  join(start(body, NULL));
  puts("after");
  return 0;
}
