// siglongjmp out of handlers of SIGSEGV, SIGFPE, SIGILL and SIGTRAP, in all threads, many times; si_code.
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>

#include "check.h"

static _Thread_local sigjmp_buf back;
static _Thread_local volatile int code;
static _Thread_local void* address;

static void handler(int signal, siginfo_t* info, void* context) {
  (void)context;
  code = info->si_code;
  address = info->si_addr;
  siglongjmp(back, signal);
}

static void on_trap(int signal) { code = signal; }

static void* body(void* argument) {
  for (int i = 0; i < 50; ++i) {
    int signal = sigsetjmp(back, 1);
    if (signal == 0) {
      *(volatile int*)(8l + i) = 1;
      CHECK(0);
    }
    CHECK(signal == SIGSEGV && code == SEGV_MAPERR && address == (void*)(8l + i));
    signal = sigsetjmp(back, 1);
    if (signal == 0) {
      (void)*(volatile int*)0x1234567890abcdef;  // not canonical
      CHECK(0);
    }
    CHECK(signal == SIGSEGV && code == SI_KERNEL);
    volatile int zero = 0;
    signal = sigsetjmp(back, 1);
    if (signal == 0) {
      zero = 100 / zero;
      CHECK(0);
    }
    CHECK(signal == SIGFPE && code == FPE_INTDIV);
    signal = sigsetjmp(back, 1);
    if (signal == 0) {
      __asm__ volatile("ud2");
      CHECK(0);
    }
    CHECK(signal == SIGILL);
    __asm__ volatile("int3");
    CHECK(code == SIGTRAP);
  }
  return argument;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  const int signals[] = {SIGSEGV, SIGFPE, SIGILL};
  for (int i = 0; i < 3; ++i) CHECK(sigaction(signals[i], &action, NULL) == 0);
  struct sigaction trap = {.sa_handler = on_trap};
  CHECK(sigaction(SIGTRAP, &trap, NULL) == 0);
  body(NULL);
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
  puts("ok");
  return 0;
}
