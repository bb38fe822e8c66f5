// Affinity: new threads inherit their maker's, wherever it runs, and run on processors that it names; sched_getcpu, the
// system call getcpu, /sys and masks tell of the same processors.
#define _GNU_SOURCE
#include <sched.h>
#include <sys/syscall.h>

#include "check.h"

static int processors;

// The node that /sys says a processor is of.
static int node_of(int cpu) {
  char path[96];
  for (int node = 0; node < 64; ++node) {
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/node%d", cpu, node);
    if (access(path, F_OK) == 0) return node;
  }
  return 0;  // a kernel without NUMA
}

static int same_node(int cpu, const cpu_set_t* set) {
  for (int other = 0; other < processors; ++other) {
    if (CPU_ISSET(other, set) && node_of(other) == node_of(cpu)) return 1;
  }
  return 0;
}

// Where the calling thread is, by all ways of asking.
static int present_processor(void) {
  unsigned cpu = 0, node = 0;
  int again = -1;
  for (int tries = 0; tries < 1000 && again != (int)cpu; ++tries) {  // the kernel may move it in between
    again = sched_getcpu();
    CHECK(syscall(SYS_getcpu, &cpu, &node, NULL) == 0);
  }
  CHECK(again == (int)cpu && again < processors && (int)node == node_of(again));
  unsigned by_library = 0, its_node = 0;
  CHECK(getcpu(&by_library, &its_node) == 0 && by_library < (unsigned)processors);
  CHECK((int)its_node == node_of((int)by_library));
  return again;
}

static void* grandchild(void* argument) {
  cpu_set_t set;
  const cpu_set_t* const expected = argument;
  CHECK(sched_getaffinity(0, sizeof set, &set) == 0 && CPU_EQUAL(&set, expected));
  CHECK(same_node(present_processor(), expected));
  return NULL;
}

// Has inherited one processor; its own thread inherits it from there.
static void* child(void* argument) {
  grandchild(argument);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, grandchild, argument) == 0 && pthread_join(thread, NULL) == 0);
  return NULL;
}

static pthread_barrier_t meet;

// Others name it by its id.
static void* named(void* argument) {
  *(pid_t*)argument = gettid();
  pthread_barrier_wait(&meet);
  pthread_barrier_wait(&meet);
  cpu_set_t set;
  CHECK(sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) == 1 && CPU_ISSET(0, &set));
  return NULL;
}

// Goes from processor to processor, wherever they are.
static void* wanderer(void* argument) {
  const cpu_set_t* const all = argument;
  for (int cpu = 0; cpu < processors; ++cpu) {
    if (!CPU_ISSET(cpu, all)) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    CHECK(sched_getcpu() == cpu);
  }
  return NULL;
}

int main(void) {
  cpu_set_t all, one, set;
  CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
  processors = (int)sysconf(_SC_NPROCESSORS_CONF);
  CHECK(CPU_COUNT(&all) >= 1 && CPU_COUNT(&all) <= processors);
  present_processor();
  for (int cpu = 0; cpu < processors; ++cpu) {
    if (!CPU_ISSET(cpu, &all)) continue;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    pthread_t threads[2];
    for (int i = 0; i < 2; ++i) CHECK(pthread_create(&threads[i], NULL, child, &one) == 0);
    for (int i = 0; i < 2; ++i) CHECK(pthread_join(threads[i], NULL) == 0);
  }
  CHECK(sched_setaffinity(0, sizeof all, &all) == 0);

  // By a thread's attributes, and its maker's stays what it is.
  for (int cpu = 0; cpu < processors; ++cpu) {
    if (!CPU_ISSET(cpu, &all)) continue;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    CHECK(pthread_attr_setaffinity_np(&attributes, sizeof one, &one) == 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, &attributes, child, &one) == 0 && pthread_join(thread, NULL) == 0);
    pthread_attr_destroy(&attributes);
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0 && CPU_EQUAL(&set, &all));
  }

  pid_t id;
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, wanderer, &all) == 0 && pthread_join(thread, NULL) == 0);
  pthread_barrier_init(&meet, NULL, 2);
  CHECK(pthread_create(&thread, NULL, named, &id) == 0);
  pthread_barrier_wait(&meet);
  CHECK(sched_getaffinity(id, sizeof set, &set) == 0 && CPU_EQUAL(&set, &all));
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  if (CPU_ISSET(0, &all)) CHECK(pthread_setaffinity_np(thread, sizeof one, &one) == 0);
  CHECK(sched_getaffinity(id, sizeof set, &set) == 0 && (CPU_EQUAL(&set, &one) || !CPU_ISSET(0, &all)));
  if (CPU_ISSET(0, &all)) pthread_barrier_wait(&meet);
  CHECK(!CPU_ISSET(0, &all) || pthread_join(thread, NULL) == 0);

  CHECK(syscall(SYS_sched_getaffinity, 0, 0, &set) == -1 && errno == EINVAL);
  CHECK(sched_getaffinity((4 << 22) - 1, sizeof set, &set) == -1 && errno == ESRCH);
  CPU_ZERO(&set);
  if (processors < CPU_SETSIZE) CPU_SET(CPU_SETSIZE - 1, &set);
  CHECK(sched_setaffinity(0, sizeof set, &set) == -1 && errno == EINVAL);
  puts("ok");
  return 0;
}
