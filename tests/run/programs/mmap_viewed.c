// Pages of a file mapping that all nodes have read are the program's own from the first write on, for threads anywhere;
// mprotect, system calls, fork and a file that becomes shorter find what they would natively.
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "check.h"

enum { kPage = 4096, kPages = 2048 };
static const size_t kBytes = (size_t)kPages * kPage;
static int file;
static char* map;
static pthread_barrier_t together;

static int expected(int page) { return page * 2654435761u >> 16; }
static volatile int* word(int page) { return (volatile int*)(map + (size_t)page * kPage) + 3; }
static void wait_for_all(void) { (void)pthread_barrier_wait(&together); }

// All read; then each page is written by one thread while the others read on; then all see it.
static void* read_write_read(void* argument) {
  const int me = (int)(long)argument;
  for (int i = 0; i < kPages; ++i) CHECK(*word(i) == expected(i));
  wait_for_all();
  for (int i = 0; i < kPages; ++i) {
    const int page = (i * 37 + me * 400) % kPages;
    if (page % 16 == me) {
      *word(page) = -page;
    } else {
      const int seen = *word(page);
      CHECK(seen == expected(page) || (page % 16 < kThreads && seen == -page));
    }
  }
  wait_for_all();
  for (int i = 0; i < kPages; ++i) CHECK(*word(i) == (i % 16 < kThreads ? -i : expected(i)));
  return NULL;
}

// The first to come makes a system call write there, the others see it.
static void* read_into(void* argument) {
  const int me = (int)(long)argument;
  for (int i = 0; i < kPages; i += 8) CHECK(*word(i) == expected(i));
  wait_for_all();
  if (me == 1) CHECK(pread(file, map + 100 * kPage, 3 * kPage, 500 * kPage) == 3 * kPage);
  wait_for_all();
  for (int i = 0; i < 3; ++i) CHECK(*word(100 + i) == expected(500 + i));
  CHECK(*word(99) == expected(99) && *word(103) == expected(103));
  return NULL;
}

static sigjmp_buf back[kThreads];
static _Thread_local int number;
static void handler(int signal, siginfo_t* info, void* context) {
  (void)context;
  CHECK((char*)info->si_addr == (char*)word(300));
  siglongjmp(back[number], signal);
}
static int signal_of_touch(void) {
  const int signal = sigsetjmp(back[number], 1);
  if (signal == 0) (void)*word(300);
  return signal;
}

static void* lose_and_regain(void* argument) {
  number = (int)(long)argument;
  for (int i = 0; i < kPages; i += 8) CHECK(*word(i) == expected(i));
  wait_for_all();
  if (number == 0) CHECK(mprotect(map + 256 * kPage, 64 * kPage, PROT_NONE) == 0);
  wait_for_all();
  CHECK(signal_of_touch() == SIGSEGV && *word(255) == expected(255));
  wait_for_all();
  if (number == 1) CHECK(mprotect(map + 256 * kPage, 64 * kPage, PROT_READ) == 0);
  wait_for_all();
  CHECK(signal_of_touch() == 0);
  wait_for_all();
  if (number == 2) CHECK(ftruncate(file, 280 * kPage) == 0);
  wait_for_all();
  CHECK(signal_of_touch() == SIGBUS && *word(279) == expected(279));
  return NULL;
}

static void with_all_threads(void* (*body)(void*)) {
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
}

static void map_again(int protection, int flags) {
  map = mmap(NULL, kBytes, protection, flags, file, 0);
  CHECK(map != MAP_FAILED);
}

int main(void) {
  CHECK(pthread_barrier_init(&together, NULL, kThreads) == 0);
  file = open("viewed", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(file >= 0);
  for (int i = 0; i < kPages; ++i) {
    int page[kPage / sizeof(int)] = {0};
    page[3] = expected(i);
    CHECK(write(file, page, kPage) == kPage);
  }

  map_again(PROT_READ | PROT_WRITE, MAP_PRIVATE);
  with_all_threads(read_write_read);
  CHECK(munmap(map, kBytes) == 0);
  map_again(PROT_READ | PROT_WRITE, MAP_PRIVATE);
  with_all_threads(read_into);

  // A child has what its parent has read, and each writes its own.
  map_again(PROT_READ | PROT_WRITE, MAP_PRIVATE);
  CHECK(*word(5) == expected(5));
  const pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < kPages; ++i) CHECK(*word(i) == expected(i));
    *word(5) = 1;
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0 && *word(5) == expected(5));

  // What others read is written back by the one that wrote.
  map_again(PROT_READ | PROT_WRITE, MAP_SHARED);
  for (int i = 0; i < kPages; ++i) CHECK(*word(i) == expected(i));
  *word(7) = 77;
  CHECK(msync(map, kBytes, MS_SYNC) == 0);
  int seen = 0;
  CHECK(pread(file, &seen, sizeof seen, 7 * kPage + 12) == sizeof seen && seen == 77);
  seen = expected(7);
  CHECK(munmap(map, kBytes) == 0 && pwrite(file, &seen, sizeof seen, 7 * kPage + 12) == sizeof seen);

  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGBUS, &action, NULL) == 0 && sigaction(SIGSEGV, &action, NULL) == 0);
  map_again(PROT_READ, MAP_PRIVATE);
  with_all_threads(lose_and_regain);
  CHECK(unlink("viewed") == 0);
  puts("ok");
  return 0;
}
