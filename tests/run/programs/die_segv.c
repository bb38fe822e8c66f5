// A bad access in a thread ends the program with SIGSEGV.
#include "check.h"
static void* body(void* argument) {
  *(volatile int*)argument = 1;
  return NULL;
}
int main(void) {
  puts("before");
  fflush(stdout);
  pthread_t threads[3];
  for (int i = 0; i < 3; ++i) threads[i] = start((void* (*)(void*))sleep, (void*)100);
  (void)threads;
  join(start(body, (void*)16));
  puts("after");
  return 0;
}
