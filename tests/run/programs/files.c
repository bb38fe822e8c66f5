// Files used by threads on all nodes: pread and pwrite, a shared offset, O_APPEND, readv, fstat, ftruncate, O_CLOEXEC,
// locks.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "check.h"

static int fd, log_fd, numbers;
static int seen[kThreads * 100];

static void* write_parts(void* argument) {
  const int me = (int)(long)argument;
  char block[5000];
  memset(block, 'a' + me, sizeof block);
  CHECK(pwrite(fd, block, sizeof block, me * 5000) == 5000);
  for (int i = 0; i < 20; ++i) {
    char line[32];
    const int bytes = snprintf(line, sizeof line, "line of %d %02d\n", me, i);
    CHECK(write(log_fd, line, (size_t)bytes) == bytes);
  }
  for (int i = 0; i < 100; ++i) {  // one offset for all: every number is read once
    int number;
    CHECK(read(numbers, &number, sizeof number) == sizeof number);
    __atomic_add_fetch(&seen[number], 1, __ATOMIC_RELAXED);
  }
  return NULL;
}

static void* own_file(void* argument) {
  char name[32], text[64];
  snprintf(name, sizeof name, "own-%ld", (long)argument);
  const int own = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
  CHECK(own >= 0 && (fcntl(own, F_GETFD) & FD_CLOEXEC) != 0);
  struct iovec parts[2] = {{"vector ", 7}, {name, strlen(name)}};
  CHECK(writev(own, parts, 2) == (ssize_t)(7 + strlen(name)));
  CHECK(lseek(own, 3, SEEK_SET) == 3 && lseek(own, -2, SEEK_CUR) == 1);
  parts[0] = (struct iovec){text, 6};
  parts[1] = (struct iovec){text + 20, 40};
  CHECK(readv(own, parts, 2) == (ssize_t)(6 + strlen(name)) && memcmp(text, "ector ", 6) == 0);
  CHECK(memcmp(text + 20, name, strlen(name)) == 0);
  struct stat status;
  CHECK(fstat(own, &status) == 0 && status.st_size == (off_t)(7 + strlen(name)) && (status.st_mode & 0700) == 0600);
  CHECK(ftruncate(own, 3) == 0 && stat(name, &status) == 0 && status.st_size == 3);
  CHECK(flock(own, LOCK_EX) == 0 && flock(own, LOCK_UN) == 0);
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  CHECK(fcntl(own, F_SETLK, &lock) == 0);
  const int copy = dup(own);
  CHECK(copy != own && lseek(copy, 2, SEEK_SET) == 2 && lseek(own, 0, SEEK_CUR) == 2);
  CHECK(close(copy) == 0 && close(own) == 0 && unlink(name) == 0);
  CHECK(open(name, O_RDONLY) == -1 && errno == ENOENT);
  CHECK(read(own + 1000, text, 1) == -1 && errno == EBADF);
  return NULL;
}

int main(void) {
  void* volatile bad = (void*)8;
  fd = open("parts", O_RDWR | O_CREAT | O_TRUNC, 0600);
  log_fd = open("log", O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);
  numbers = open("numbers", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(fd >= 0 && log_fd >= 0 && numbers >= 0);
  for (int i = 0; i < kThreads * 100; ++i) CHECK(write(numbers, &i, sizeof i) == sizeof i);
  CHECK(lseek(numbers, 0, SEEK_SET) == 0);
  pthread_t threads[kThreads];
  start_all(threads, write_parts);
  join_all(threads);
  char* const whole = malloc(5000 * kThreads);
  CHECK(pread(fd, whole, 5000 * kThreads, 0) == 5000 * kThreads);
  for (int i = 0; i < 5000 * kThreads; ++i) CHECK(whole[i] == 'a' + i / 5000);
  for (int i = 0; i < kThreads * 100; ++i) CHECK(seen[i] == 1);
  CHECK(lseek(log_fd, 0, SEEK_END) == kThreads * 20 * 13);
  char line[13];
  int next[kThreads] = {0};
  for (int i = 0; i < kThreads * 20; ++i) {
    CHECK(pread(log_fd, line, 13, i * 13) == 13 && line[12] == '\n');
    const int who = line[8] - '0';
    CHECK(atoi((char[]){line[10], line[11], 0}) == next[who]);
    ++next[who];
  }
  start_all(threads, own_file);
  join_all(threads);
  CHECK(read(fd, bad, 4) == -1 && errno == EFAULT);
  CHECK(write(fd, bad, 4) == -1 && errno == EFAULT);
  unlink("parts"), unlink("log"), unlink("numbers");
  puts("ok");
  return 0;
}
