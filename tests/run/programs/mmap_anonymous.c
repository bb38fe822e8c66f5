// Anonymous mappings: zero pages, MAP_FIXED over a part, munmap of a part, MAP_FIXED_NOREPLACE, mremap grow, move and
// shrink.
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/mman.h>

#include "check.h"

enum { kPage = 4096 };

static char* map(void* at, size_t bytes, int protection, int flags) {
  void* const result = mmap(at, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  CHECK(result != MAP_FAILED);
  return result;
}

static void fill(char* at, int pages) {
  for (int i = 0; i < pages; ++i) {
    for (int j = 0; j < 8; ++j) CHECK(at[i * kPage + j] == 0);
    at[i * kPage] = (char)(i + 1);
  }
}

static void* body(void* argument) {
  const int rw = PROT_READ | PROT_WRITE;
  (void)argument;
  for (int round = 0; round < 4; ++round) {
    char* at = map(NULL, 16 * kPage, rw, 0);
    fill(at, 16);
    CHECK(map(at + 4 * kPage, 2 * kPage, rw, MAP_FIXED) == at + 4 * kPage);
    CHECK(at[3 * kPage] == 4 && at[4 * kPage] == 0 && at[5 * kPage] == 0 && at[6 * kPage] == 7);
    CHECK(munmap(at + 8 * kPage, 4 * kPage) == 0);
    CHECK(at[7 * kPage] == 8 && at[12 * kPage] == 13);
    unsigned char resident[4];
    CHECK(mincore(at + 8 * kPage, 4 * kPage, resident) == -1 && errno == ENOMEM);
    CHECK(mmap(at + 7 * kPage, kPage, rw, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED);
    CHECK(errno == EEXIST);
    CHECK(munmap(at, 8 * kPage) == 0 && munmap(at + 12 * kPage, 4 * kPage) == 0);

    at = map(NULL, 4 * kPage, rw, 0);
    fill(at, 4);
    char* const grown = mremap(at, 4 * kPage, 64 * kPage, MREMAP_MAYMOVE);
    CHECK(grown != MAP_FAILED);
    for (int i = 0; i < 64; ++i) CHECK(grown[i * kPage] == (i < 4 ? i + 1 : 0));
    grown[63 * kPage] = 1;
    char* const place = map(NULL, 64 * kPage, PROT_NONE, 0);
    CHECK(mremap(grown, 64 * kPage, 64 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place);
    CHECK(place[0] == 1 && place[3 * kPage] == 4 && place[63 * kPage] == 1);
    CHECK(mremap(place, 64 * kPage, 2 * kPage, 0) == place && place[kPage] == 2);
    CHECK(mremap(place, 2 * kPage, 3 * kPage, 0) == place || errno == ENOMEM);
    CHECK(munmap(place, 3 * kPage) == 0);

    char* const big = map(NULL, (size_t)1 << 34, rw, MAP_NORESERVE);
    for (size_t i = 0; i < (size_t)1 << 34; i += (size_t)1 << 30) CHECK(big[i + 5]++ == 0);
    CHECK(munmap(big, (size_t)1 << 34) == 0);
  }
  CHECK(mmap(NULL, 0, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
  CHECK(munmap((void*)(uintptr_t)1, kPage) == -1 && errno == EINVAL);
  return NULL;
}

static void* write_pages(void* argument) {
  char* const at = argument;
  for (int i = 0; i < 100; ++i) at[i * kPage] += 1;
  return NULL;
}

int main(void) {
  body(NULL);
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
  char* const shared = map(NULL, 100 * kPage, PROT_READ | PROT_WRITE, 0);
  for (int i = 0; i < 10; ++i) join(start(write_pages, shared));
  for (int i = 0; i < 100; ++i) CHECK(shared[i * kPage] == 10);
  puts("ok");
  return 0;
}
