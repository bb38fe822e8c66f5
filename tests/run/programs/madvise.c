// madvise: after MADV_DONTNEED anonymous pages read zero on all nodes, and private file pages read the file.
#include <fcntl.h>
#include <sys/mman.h>

#include "check.h"

enum { kPage = 4096, kPages = 16 };
static char* region;
static pthread_barrier_t barrier;

static void* body(void* argument) {
  const int me = (int)(long)argument;
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < kPages; ++i) region[i * kPage + me] = 1;
    pthread_barrier_wait(&barrier);
    if (me == round % kThreads) CHECK(madvise(region, kPages * kPage, MADV_DONTNEED) == 0);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < kPages; ++i) CHECK(region[i * kPage + me] == 0);
    pthread_barrier_wait(&barrier);
  }
  return NULL;
}

int main(void) {
  region = mmap(NULL, kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(region != MAP_FAILED);
  pthread_barrier_init(&barrier, NULL, kThreads);
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
  region[0] = 7;
  CHECK(madvise(region, kPages * kPage, MADV_WILLNEED) == 0 && region[0] == 7);
  CHECK(madvise(region, kPages * kPage, MADV_NORMAL) == 0 && region[0] == 7);

  const int fd = open("advised", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(write(fd, "file", 4) == 4);
  char* const file = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  CHECK(file != MAP_FAILED);
  file[0] = 'X';
  CHECK(madvise(file, kPage, MADV_DONTNEED) == 0);
  printf("%.4s\n", file);

  // Pages that are discarded together keep their protections, and the file need not have a name any more.
  CHECK(ftruncate(fd, 2 * kPage) == 0);
  char* const two = mmap(NULL, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  CHECK(two != MAP_FAILED && mprotect(two, kPage, PROT_READ) == 0);
  two[kPage] = 'X';
  CHECK(close(fd) == 0 && unlink("advised") == 0);
  CHECK(madvise(two, 2 * kPage, MADV_DONTNEED) == 0);
  CHECK(two[0] == 'f' && two[kPage] == 0);
  two[kPage] = 'Y';
  CHECK(read(open("/dev/zero", O_RDONLY), two, 1) == -1 && errno == EFAULT);
  puts("ok");
  return 0;
}
