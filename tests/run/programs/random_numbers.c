// getrandom, rand and drand48 from threads; the generator of the process is shared.
#include <sys/random.h>

#include "check.h"

static void* body(void* argument) {
  (void)argument;
  unsigned char bytes[64], other[64];
  CHECK(getrandom(bytes, 64, 0) == 64 && getentropy(other, 64) == 0 && memcmp(bytes, other, 64) != 0);
  for (int i = 0; i < 10; ++i) rand();
  return NULL;
}

int main(void) {
  srand(1);
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
  printf("rand %d\n", rand());  // the 81st, whoever took the others
  return 0;
}
