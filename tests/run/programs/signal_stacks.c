// sigaltstack with SA_ONSTACK, in every thread; overflow of the stack is handled there.
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>

#include "check.h"

static _Thread_local char* low;
static _Thread_local volatile int on_it;
static _Thread_local sigjmp_buf back;
enum { kBytes = 64 << 10 };

static void handler(int signal) {
  char here;
  on_it = &here > low && &here < low + kBytes;
  stack_t current;
  CHECK(sigaltstack(NULL, &current) == 0);
  CHECK(((current.ss_flags & SS_ONSTACK) != 0) == on_it);
  if (signal == SIGSEGV) siglongjmp(back, 1);
}

static volatile int sink;
static void overflow(int depth) {
  volatile char block[4000];
  block[0] = (char)depth;
  sink = block[0];
  if (depth >= 0) overflow(depth + 1);
  sink = block[0];
}

static void* body(void* argument) {
  low = malloc(kBytes);
  stack_t stack = {.ss_sp = low, .ss_size = kBytes}, old;
  CHECK(sigaltstack(&stack, &old) == 0 && (old.ss_flags & SS_DISABLE) != 0);
  raise(SIGUSR1);
  CHECK(on_it == 1);
  raise(SIGUSR2);
  CHECK(on_it == 0);
  if (sigsetjmp(back, 1) == 0) overflow(0);
  CHECK(on_it == 1);
  if (sigsetjmp(back, 1) == 0) overflow(0);
  stack.ss_flags = SS_DISABLE;
  CHECK(sigaltstack(&stack, NULL) == 0);
  raise(SIGUSR1);
  CHECK(on_it == 0);
  free(low);
  return argument;
}

int main(void) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && sigaction(SIGSEGV, &action, NULL) == 0);
  action.sa_flags = 0;
  CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
  stack_t tiny = {.ss_sp = threads, .ss_size = 16};
  CHECK(sigaltstack(&tiny, NULL) == -1 && errno == ENOMEM);
  puts("ok");
  return 0;
}
