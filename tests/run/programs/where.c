// With the argument "nodes": says on which node each of four threads is, and each one's own thread. Else only that all
// say a node that exists.
#define _GNU_SOURCE
#include <sched.h>

#include "check.h"

static void* inner(void* argument) {
  unsigned cpu;
  CHECK(getcpu(&cpu, argument) == 0);
  return NULL;
}

static void* outer(void* argument) {
  unsigned* const nodes = argument;
  pthread_t thread;
  inner(&nodes[0]);
  CHECK(pthread_create(&thread, NULL, inner, &nodes[1]) == 0 && pthread_join(thread, NULL) == 0);
  return NULL;
}

int main(int count, char** arguments) {
  const int tells = count > 1 && strcmp(arguments[1], "nodes") == 0;
  for (int i = 0; i < 4; ++i) {
    unsigned nodes[2];
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, outer, nodes) == 0 && pthread_join(thread, NULL) == 0);
    CHECK(nodes[0] < 64 && nodes[1] < 64);
    if (tells) printf("%u>%u ", nodes[0], nodes[1]);
  }
  puts("ok");
  return 0;
}
