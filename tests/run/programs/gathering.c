// Threads that do nothing but take a page from each other come to run on one node, and go apart again when each works
// for itself. Natively there is one node.
#include "nodes.h"

enum { kSecondsToMove = 100 };

static struct {
  volatile long counts[2][8];  // of each, in a line of its own
} shared __attribute__((aligned(4096)));
static volatile unsigned on_node[2];
static volatile int phase;
static int nodes;

static void share(long me) {
  while (phase == 0) {
    for (int i = 0; i < 1000; ++i) ++shared.counts[me][0];
    on_node[me] = present_node();
    if (on_node[0] == on_node[1]) phase = 1;
  }
}

static void work_alone(long me) {
  while (phase == 1) {
    for (volatile long i = 0; i < 20000000; ++i) continue;
    on_node[me] = present_node();
    if (nodes == 1 || on_node[0] != on_node[1]) phase = 2;
  }
}

static void* body(void* argument) {
  const long me = (long)argument;
  on_node[me] = present_node();
  share(me);
  work_alone(me);
  return NULL;
}

int main(void) {
  nodes = nodes_of_machine();
  on_node[0] = 1000, on_node[1] = 1001;
  pthread_t threads[2];
  for (long i = 0; i < 2; ++i) threads[i] = start(body, (void*)i);
  for (int waited = 0; phase != 2; ++waited) {
    CHECK(waited < kSecondsToMove * 100);
    pause_ms(10);
  }
  for (int i = 0; i < 2; ++i) join(threads[i]);
  puts("ok");
  return 0;
}
