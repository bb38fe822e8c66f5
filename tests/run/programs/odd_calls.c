// System calls that few programs make: attributes, message queues, times, limits.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/openat2.h>
#include <mqueue.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "check.h"

static mqd_t queue;

static void* attributes_and_files(void* argument) {
  struct open_how how = {.flags = O_RDWR | O_CREAT, .mode = 0600};
  const int fd = (int)syscall(SYS_openat2, AT_FDCWD, argument, &how, sizeof how);
  CHECK(fd >= 0);
  char value[8];
  if (fsetxattr(fd, "user.one", "first", 5, 0) == 0) {  // not every file system has them
    CHECK(lsetxattr(argument, "user.two", "second", 6, 0) == 0 && getxattr(argument, "user.two", value, 8) == 6);
    CHECK(fremovexattr(fd, "user.one") == 0 && removexattr(argument, "user.two") == 0);
    CHECK(getxattr(argument, "user.two", value, 8) == -1 && errno == ENODATA);
  } else {
    CHECK(errno == EOPNOTSUPP);
  }
  CHECK(close(fd) == 0 && unlink(argument) == 0);
  return NULL;
}

static void* receive(void* argument) {
  char text[16];
  unsigned priority = 0;
  CHECK(mq_receive(queue, text, sizeof text, &priority) == 6 && memcmp(text, "urgent", 6) == 0 && priority == 9);
  CHECK(mq_receive(queue, text, sizeof text, NULL) == 4 && memcmp(text, "slow", 4) == 0);
  return argument;
}

static void queues(void) {
  char name[32];
  snprintf(name, sizeof name, "/gallocy-test-%d", (int)getpid());
  struct mq_attr attributes = {.mq_maxmsg = 4, .mq_msgsize = 16};
  queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
  if (queue == (mqd_t)-1) return;  // a container may have none
  CHECK(mq_unlink(name) == 0);
  CHECK(mq_send(queue, "slow", 4, 1) == 0 && mq_send(queue, "urgent", 6, 9) == 0);
  CHECK(mq_getattr(queue, &attributes) == 0 && attributes.mq_curmsgs == 2 && attributes.mq_msgsize == 16);
  join(start(receive, NULL));
  CHECK(mq_close(queue) == 0);
}

static void* work(void* argument) {
  struct timespec used;
  do {
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) == 0);
  } while (used.tv_nsec < 60 * 1000 * 1000 && used.tv_sec == 0);
  return argument;
}

int main(void) {
  join(start(attributes_and_files, "here"));
  attributes_and_files("there");
  queues();
  struct tms before, after;
  CHECK(times(&before) != (clock_t)-1);
  join(start(work, NULL));
  CHECK(times(&after) != (clock_t)-1);
  CHECK(after.tms_utime + after.tms_stime >= before.tms_utime + before.tms_stime + 3);  // ticks of 10 ms
  CHECK(prctl(PR_GET_SECCOMP) >= 0 && prctl(PR_GET_KEEPCAPS) == 0);
  struct rlimit limit, old;
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && prlimit(getpid(), RLIMIT_NOFILE, NULL, &old) == 0);
  CHECK(limit.rlim_cur == old.rlim_cur && limit.rlim_max == old.rlim_max);
  printf("descriptors: %lu of %lu\n", (unsigned long)limit.rlim_cur, (unsigned long)limit.rlim_max);
  limit.rlim_cur = 77;
  CHECK(prlimit(0, RLIMIT_NOFILE, &limit, &old) == 0 && old.rlim_cur != 77);
  CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0 && old.rlim_cur == 77);
  fflush(stdout);
  CHECK(system("ulimit -n") == 0);
  puts("ok");
  return 0;
}
