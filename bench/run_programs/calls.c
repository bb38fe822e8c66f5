// calls local|clock|home COUNT          prints ns=<per call> node=<the calling thread's> and a digest
//
// Times a system call that every node answers by itself (gettid), the clock, or one that the process's first node
// answers (getppid). `home` calls from a thread; under `gallocy run -n 2` that is on node 1.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long count;

static double now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void report(double begin) {
  unsigned node = 0;
  const double ns = (now_ns() - begin) / (double)count;
  syscall(SYS_getcpu, NULL, &node, NULL);
  printf("ns=%.3f node=%u digest=right\n", ns, node);
}

static void wrong(const char* what) {
  fprintf(stderr, "calls: %s\n", what);
  exit(1);
}

static void local(void) {
  const long tid = syscall(SYS_gettid);
  const double begin = now_ns();
  for (long i = 0; i < count; ++i) {
    if (syscall(SYS_gettid) != tid) wrong("gettid changed its answer");
  }
  report(begin);
}

static void clocks(void) {
  const double begin = now_ns();
  double last = begin;
  for (long i = 0; i < count; ++i) {
    const double now = now_ns();
    if (now < last) wrong("the clock went back");
    last = now;
  }
  report(begin);
}

static void* home(void* parent) {
  syscall(SYS_getppid);
  const double begin = now_ns();
  for (long i = 0; i < count; ++i) {
    if (syscall(SYS_getppid) != (long)(intptr_t)parent) wrong("getppid changed its answer");
  }
  report(begin);
  return NULL;
}

int main(int argument_count, char** arguments) {
  const char* const what = argument_count == 3 ? arguments[1] : "";
  if (argument_count == 3) count = atol(arguments[2]);
  if (count > 0 && strcmp(what, "local") == 0) return local(), 0;
  if (count > 0 && strcmp(what, "clock") == 0) return clocks(), 0;
  if (count > 0 && strcmp(what, "home") == 0) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, home, (void*)(intptr_t)getppid()) != 0) wrong("no thread");
    return pthread_join(thread, NULL);
  }
  fprintf(stderr, "calls: expected local, clock or home, and a count\n");
  return 64;
}
