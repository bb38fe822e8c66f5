// File mappings: private ones read the file and keep their writes; shared ones reach the file with msync and munmap.
#include <fcntl.h>
#include <sys/mman.h>

#include "check.h"

enum { kPages = 8, kPage = 4096 };
static char *private_map, *shared_map;

static void* touch(void* argument) {
  const int me = (int)(long)argument;
  CHECK(private_map[me * kPage + 1] == 'a' + me);
  private_map[me * kPage] = 'P';
  CHECK(shared_map[me * kPage + 1] == 'a' + me);
  shared_map[me * kPage] = (char)('A' + me);
  return NULL;
}

int main(void) {
  const int fd = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(fd >= 0);
  char page[kPage];
  for (int i = 0; i < kPages; ++i) {
    memset(page, 'a' + i, kPage);
    CHECK(write(fd, page, i == kPages - 1 ? 100 : kPage) > 0);
  }
  private_map = mmap(NULL, kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  CHECK(private_map != MAP_FAILED);
  CHECK(private_map[(kPages - 1) * kPage + 99] == 'h' && private_map[(kPages - 1) * kPage + 100] == 0);
  pthread_t threads[kThreads];
  shared_map = mmap(NULL, kPages * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(shared_map != MAP_FAILED);
  start_all(threads, touch);
  join_all(threads);
  CHECK(msync(shared_map, kPages * kPage, MS_SYNC) == 0);
  for (int i = 0; i < kPages; ++i) {
    CHECK(pread(fd, page, 2, i * kPage) == 2);
    printf("%.2s %.2s\n", page, private_map + i * kPage);
  }
  shared_map[kPage] = 'Z';
  CHECK(munmap(shared_map, kPages * kPage) == 0);
  CHECK(pread(fd, page, 2, kPage) == 2);
  printf("after munmap %.2s\n", page);

  // An offset; reads only; the file may be closed.
  const int again = open("mapped", O_RDONLY);
  const char* const part = mmap(NULL, 2 * kPage, PROT_READ, MAP_SHARED, again, 3 * kPage);
  CHECK(part != MAP_FAILED && close(again) == 0);
  printf("part %.2s %.2s\n", part, part + kPage);
  CHECK(mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, open("mapped", O_RDONLY), 0) == MAP_FAILED);
  CHECK(errno == EACCES);
  CHECK(mmap(NULL, kPage, PROT_READ, MAP_PRIVATE, 999, 0) == MAP_FAILED && errno == EBADF);

  char* const last = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(last != MAP_FAILED);
  last[2] = 'X';
  CHECK(msync(last, kPage, MS_ASYNC) == 0);
  CHECK(unlink("mapped") == 0);
  return 0;
}
