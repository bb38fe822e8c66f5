// mprotect: a SIGSEGV handler makes the page writable again; PROT_NONE guards hold on all nodes; si_addr and si_code.
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ucontext.h>

#include "check.h"

enum { kPage = 4096 };
static char *region, *guard;
static volatile int faults;
static _Thread_local sigjmp_buf back;
static _Thread_local volatile int at_guard;

static void on_fault(int signal, siginfo_t* info, void* context) {
  char* const address = info->si_addr;
  const long error = ((ucontext_t*)context)->uc_mcontext.gregs[REG_ERR];
  CHECK(signal == SIGSEGV && (error & 4) != 0);
  if (address >= guard && address < guard + kPage) {
    at_guard = info->si_code;
    siglongjmp(back, 1);
  }
  CHECK(address >= region && address < region + kThreads * kPage);
  CHECK(info->si_code == SEGV_ACCERR);
  __atomic_add_fetch(&faults, 1, __ATOMIC_SEQ_CST);
  CHECK(mprotect((void*)((long)address & -kPage), kPage, PROT_READ | PROT_WRITE) == 0);
}

static void* write_protected(void* argument) {
  const long me = (long)argument;
  CHECK(region[me * kPage] == 1);
  region[me * kPage + 8] = (char)me;
  CHECK(region[me * kPage + 8] == me);
  if (sigsetjmp(back, 1) == 0) {
    (void)*(volatile char*)guard;
    CHECK(!"the guard was read");
  }
  CHECK(at_guard == SEGV_ACCERR);
  return NULL;
}

static void* write_it(void* argument) {
  *(char*)argument = 5;
  return NULL;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
  region = mmap(NULL, kThreads * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  guard = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  pthread_t threads[kThreads];
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < kThreads; ++i) region[i * kPage] = 1;
    guard[0] = 1;
    CHECK(mprotect(region, kThreads * kPage, PROT_READ) == 0);
    CHECK(mprotect(guard, kPage, PROT_NONE) == 0);
    start_all(threads, write_protected);
    join_all(threads);
    printf("faults %d\n", faults);
    CHECK(mprotect(guard, kPage, PROT_READ | PROT_WRITE) == 0);
    CHECK(guard[0] == 1);
    join(start(write_it, guard));
  }
  puts("ok");
  return 0;
}
