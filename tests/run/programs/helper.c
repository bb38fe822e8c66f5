// A thread that mostly sleeps, and then only looks at what another made, comes to run where the program began. When it
// begins to compute it goes elsewhere again. Natively there is one node.
#include "nodes.h"

enum { kPages = 64, kPageBytes = 4096, kSecondsToMove = 100 };

static char made[kPages * kPageBytes] __attribute__((aligned(4096)));
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long round_made, round_seen;
static unsigned on_node;
static int nodes;

static double seconds(void) {
  const struct timespec now = after_ms(CLOCK_MONOTONIC, 0);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

// Until it is at the first node.
static void look(void) {
  pthread_mutex_lock(&mutex);
  do {
    while (round_seen == round_made) pthread_cond_wait(&changed, &mutex);
    const long round = round_made;
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < kPages; ++i) CHECK(made[i * kPageBytes] == (char)round);
    pthread_mutex_lock(&mutex);
    round_seen = round;
    on_node = present_node();
    pthread_cond_broadcast(&changed);
  } while (on_node != 0);
  pthread_mutex_unlock(&mutex);
}

static void compute(void) {
  const double begin = seconds();
  do {
    for (volatile long i = 0; i < 20000000; ++i) continue;
    CHECK(seconds() - begin < kSecondsToMove);
  } while (nodes > 1 && present_node() == 0);
}

static void* body(void* unused) {
  CHECK(nodes == 1 || present_node() != 0);
  look();
  compute();
  return unused;
}

int main(void) {
  nodes = nodes_of_machine();
  on_node = 1000;
  const pthread_t helper = start(body, NULL);
  const double began = seconds();
  while (on_node != 0) {
    const double begin = seconds();
    CHECK(begin - began < kSecondsToMove);
    pthread_mutex_lock(&mutex);
    ++round_made;
    for (int i = 0; i < kPages; ++i) made[i * kPageBytes] = (char)round_made;
    pthread_cond_broadcast(&changed);
    while (round_seen != round_made) pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
    // It sleeps for longer than it took to look.
    usleep((useconds_t)((seconds() - begin) * 1e6));
  }
  join(helper);
  puts("ok");
  return 0;
}
