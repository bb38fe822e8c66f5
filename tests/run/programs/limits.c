// Limits and ids of the process, the same in every thread; descriptors run out where the limit says.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include "check.h"

static uid_t user;
static struct utsname machine;

static void* body(void* argument) {
  (void)argument;
  CHECK(getuid() == user && geteuid() == user && getppid() > 0 && getpgrp() > 0 && getsid(0) >= 0);
  struct utsname seen;
  CHECK(uname(&seen) == 0 && strcmp(seen.nodename, machine.nodename) == 0 && strcmp(seen.sysname, "Linux") == 0);
  struct rlimit limit;
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 64);
  CHECK(getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur > 0);
  return NULL;
}

int main(void) {
  user = getuid();
  CHECK(uname(&machine) == 0);
  struct rlimit limit;
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = 64;
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
  int last = 0, fd;
  while ((fd = open("/dev/null", O_RDONLY)) >= 0) last = fd;
  CHECK(errno == EMFILE && last == 63);
  for (fd = 10; fd <= last; ++fd) close(fd);
  CHECK(close_range(40, 63, 0) == 0);
  CHECK(open("/dev/null", O_RDONLY) == 10);
  puts("ok");
  return 0;
}
