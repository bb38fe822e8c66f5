// Pipes between threads: a ring that a token goes round, large writes that block, end of file, non-blocking, splice.
#define _GNU_SOURCE
#include <fcntl.h>

#include "check.h"

static int ring[kThreads][2];
static int big[2];

static void* pass(void* argument) {
  const int me = (int)(long)argument;
  int token;
  while (read(ring[me][0], &token, sizeof token) == sizeof token) {
    ++token;
    CHECK(write(ring[(me + 1) % kThreads][1], &token, sizeof token) == sizeof token);
    if (token >= 400) break;
  }
  return NULL;
}

static void* write_much(void* argument) {
  char* const block = malloc(1 << 20);
  for (int i = 0; i < 1 << 20; ++i) block[i] = (char)(i % 251);
  CHECK(write(big[1], block, 1 << 20) == 1 << 20);
  CHECK(close(big[1]) == 0);
  free(block);
  return argument;
}

int main(void) {
  for (int i = 0; i < kThreads; ++i) CHECK(pipe(ring[i]) == 0);
  pthread_t threads[kThreads];
  start_all(threads, pass);
  int token = 0;
  CHECK(write(ring[0][1], &token, sizeof token) == sizeof token);
  join_all(threads);
  CHECK(pipe(big) == 0);
  const pthread_t writer = start(write_much, NULL);
  char block[3000];
  long total = 0;
  for (ssize_t bytes; (bytes = read(big[0], block, sizeof block)) > 0; total += bytes)
    for (ssize_t i = 0; i < bytes; ++i) CHECK(block[i] == (char)((total + i) % 251));
  join(writer);
  printf("total %ld\n", total);
  int ends[2];
  CHECK(pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0);
  CHECK(read(ends[0], block, 1) == -1 && errno == EAGAIN);
  CHECK(fcntl(ends[1], F_GETPIPE_SZ) > 0);
  CHECK(write(ends[1], "splice", 6) == 6);
  const int fd = open("spliced", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(splice(ends[0], NULL, fd, NULL, 6, 0) == 6);
  CHECK(pread(fd, block, 6, 0) == 6 && memcmp(block, "splice", 6) == 0);
  unlink("spliced");
  puts("ok");
  return 0;
}
