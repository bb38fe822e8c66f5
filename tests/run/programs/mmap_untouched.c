// Pages of a file mapping that nobody has touched yet are the file's through mprotect, mremap, munmap, MAP_FIXED,
// MADV_DONTNEED, fork, system calls and the end of their file; the threads of all nodes read them.
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "check.h"

enum { kPage = 4096, kPages = 1024, kReplaced = 200 };  // more than is read at once
static const size_t kBytes = (size_t)kPages * kPage;
static int file;
static char *map, *other;

static int expected(int page) { return page * 2654435761u >> 16; }
static int at(const char* start, int page) { return ((const int*)(start + (size_t)page * kPage))[3]; }
static char* map_again(int protection, int flags) {
  char* const made = mmap(NULL, kBytes, protection, flags, file, 0);
  CHECK(made != MAP_FAILED);
  return made;
}

// Each page is read by one thread, and those beside it by others.
static void* read_some(void* argument) {
  for (int i = (int)(long)argument; i < kPages; i += kThreads) CHECK(at(map, i) == expected(i));
  return NULL;
}

static void* read_all(void* argument) {
  (void)argument;
  for (int i = 0; i < kPages; ++i) CHECK(at(map, i) == expected(i));
  return NULL;
}

// Others map something else in the middle of what this one reads.
static void* replace_some(void* argument) {
  const int me = (int)(long)argument;
  for (int i = me; i < kReplaced; i += kThreads) {
    char* const page = map + (size_t)i * kPage;
    switch (i % 4) {
      case 0:
        CHECK(at(map, i) == expected(i));
        break;
      case 1:
        CHECK(mmap(page, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page);
        CHECK(at(map, i) == 0);
        ((int*)page)[3] = i;
        break;
      case 2:
        CHECK(mprotect(page, kPage, PROT_READ | PROT_WRITE) == 0 && at(map, i) == expected(i));
        ((int*)page)[3] = -i;
        break;
      case 3:
        CHECK(munmap(page, kPage) == 0);
        CHECK(mmap(page, kPage, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, (off_t)(kPages - 1 - i) * kPage) == page);
        CHECK(at(map, i) == expected(kPages - 1 - i));
        break;
    }
  }
  return NULL;
}

static void check_replaced(void) {
  for (int i = 0; i < kReplaced; ++i) {
    const int wanted[] = {expected(i), i, -i, expected(kPages - 1 - i)};
    CHECK(at(map, i) == wanted[i % 4]);
  }
}

static void with_all_threads(void* (*body)(void*)) {
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
}

// Some discard what others read: it is the file's at every moment.
static int discarding = kThreads / 2;
static void* discard_and_read(void* argument) {
  const int me = (int)(long)argument;
  for (int round = 0; round < 16 && me % 2 == 0; ++round) {
    const int i = round % 8 + me;
    CHECK(madvise(map + (size_t)i * kPage, 8 * kPage, MADV_DONTNEED) == 0);
    for (int k = 0; k < 8; ++k) CHECK(at(map, i + k) == expected(i + k));
  }
  if (me % 2 == 0) __atomic_sub_fetch(&discarding, 1, __ATOMIC_RELAXED);
  while (__atomic_load_n(&discarding, __ATOMIC_RELAXED) > 0) {
    for (int i = 0; i < 8 + kThreads; ++i) CHECK(at(map, i) == expected(i));
  }
  return NULL;
}

static sigjmp_buf back;
static void* fault_address;
static void handler(int signal, siginfo_t* info, void* context) {
  (void)context;
  fault_address = info->si_addr;
  siglongjmp(back, signal);
}
static void* touch_beyond_end(void* argument) {
  (void)argument;
  static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
  CHECK(pthread_mutex_lock(&one) == 0);
  const int signal = sigsetjmp(back, 1);
  if (signal == 0) {
    (void)*(volatile char*)(other + kPage);
    CHECK(!"read beyond the end");
  }
  CHECK(signal == SIGBUS && fault_address == other + kPage && other[0] == 'x' && other[1] == 0);
  CHECK(write(file, other + kPage, 1) == -1 && errno == EFAULT);
  CHECK(pthread_mutex_unlock(&one) == 0);
  return NULL;
}

int main(void) {
  file = open("large", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(file >= 0);
  for (int i = 0; i < kPages; ++i) {
    int page[kPage / sizeof(int)] = {0};
    page[3] = expected(i);
    CHECK(write(file, page, kPage) == kPage);
  }

  map = map_again(PROT_READ, MAP_PRIVATE);
  with_all_threads(read_some);
  map = map_again(PROT_READ, MAP_SHARED);
  with_all_threads(read_all);
  map = map_again(PROT_READ, MAP_PRIVATE);
  with_all_threads(replace_some);
  check_replaced();

  // mremap, of what may only be read: partly read, moved and longer.
  map = mmap(NULL, kBytes / 2, PROT_READ, MAP_PRIVATE, file, 0);
  CHECK(map != MAP_FAILED && at(map, 100) == expected(100));
  other = mmap(NULL, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(mremap(map, kBytes / 2, kBytes, MREMAP_MAYMOVE | MREMAP_FIXED, other) == other);
  map = other;
  with_all_threads(read_all);

  map = map_again(PROT_READ | PROT_WRITE, MAP_PRIVATE);
  CHECK(at(map, 8) == expected(8));
  with_all_threads(discard_and_read);

  // A child has what its parent has read, written and not touched.
  map = map_again(PROT_READ | PROT_WRITE, MAP_PRIVATE);
  ((int*)map)[3] = 17;
  const pid_t child = fork();
  if (child == 0) {
    CHECK(at(map, 0) == 17);
    for (int i = 1; i < kPages; ++i) CHECK(at(map, i) == expected(i));
    ((int*)(map + 9 * kPage))[3] = 18;
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0 && at(map, 9) == expected(9));

  // System calls read and write there; what was not written to is not written back.
  other = map_again(PROT_READ | PROT_WRITE, MAP_SHARED);
  int word = -1;
  CHECK(pwrite(file, other + 700 * kPage, 16, 0) == 16);
  CHECK(at(other, 0) == expected(700) || at(other, 0) == expected(0));
  ((int*)(other + 300 * kPage))[3] = 42;
  CHECK(pwrite(file, &word, sizeof word, (off_t)1000 * kPage + 12) == sizeof word);
  CHECK(munmap(other, kBytes) == 0);
  CHECK(pread(file, &word, sizeof word, (off_t)300 * kPage + 12) == sizeof word && word == 42);
  CHECK(pread(file, &word, sizeof word, (off_t)1000 * kPage + 12) == sizeof word && word == -1);

  // Beyond the end, for threads anywhere; then the file grows.
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGBUS, &action, NULL) == 0);
  CHECK(close(file) == 0 && unlink("large") == 0);
  file = open("short", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(write(file, "x", 1) == 1);
  other = map_again(PROT_READ, MAP_SHARED);
  with_all_threads(touch_beyond_end);
  CHECK(ftruncate(file, 2 * kPage) == 0 && pwrite(file, "y", 1, kPage) == 1);
  CHECK(other[kPage] == 'y');
  CHECK(unlink("short") == 0);
  puts("ok");
  return 0;
}
