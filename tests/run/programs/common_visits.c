// A thread that touches memory shared with a child keeps all that is its own, wherever that happens: registers, its id,
// thread-local data, signal mask, alternate stack, pending signals, cancellation.
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

static volatile long* shared;
static _Thread_local long own = 7;
static _Thread_local volatile sig_atomic_t handled;
static atomic_int waiting;
static sem_t* never;

static void on_signal(int number) { handled += number == SIGUSR1; }

// Registers around a load that may take long: integers, vectors, flags.
static long registers_stay(long seed) {
  double numbers[4] = {seed + 0.25, seed + 0.5, seed + 0.75, seed};
  long result = 0, below = 0;
  __asm__ volatile(
      "movupd %[numbers], %%xmm4\n\t"
      "movupd 16+%[numbers], %%xmm13\n\t"
      "mov %[seed], %%r12\n\t"
      "lea 1(%%r12), %%r13\n\t"
      "cmp %%r13, %%r12\n\t"  // flags that the load must not change
      "mov (%[at]), %%r14\n\t"
      "setl %b[below]\n\t"
      "movupd %%xmm13, 16+%[numbers]\n\t"
      "movupd %%xmm4, %[numbers]\n\t"
      "lea (%%r12,%%r13), %[result]\n\t"
      : [numbers] "+m"(numbers), [result] "=&r"(result), [below] "+r"(below)
      : [seed] "r"(seed), [at] "r"(shared)
      : "r12", "r13", "r14", "xmm4", "xmm13", "cc", "memory");
  CHECK(numbers[0] == seed + 0.25 && numbers[1] == seed + 0.5 && numbers[2] == seed + 0.75 && numbers[3] == seed);
  CHECK((below & 1) == 1);
  return result;
}

static void* body(void* argument) {
  const long me = (long)argument;
  const long tid = syscall(SYS_gettid);
  stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536}, seen;
  CHECK(sigaltstack(&stack, NULL) == 0);
  sigset_t blocked, mask;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2);
  CHECK(pthread_sigmask(SIG_BLOCK, &blocked, NULL) == 0);
  for (long round = 0; round < 20; ++round) {
    own = me + round;
    CHECK(registers_stay(me * 100 + round) == 2 * (me * 100 + round) + 1);
    CHECK(shared[0] == 42 && own == me + round && syscall(SYS_gettid) == tid);
    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &mask) == 0 && sigismember(&mask, SIGUSR2) && !sigismember(&mask, SIGUSR1));
    CHECK(sigaltstack(NULL, &seen) == 0 && seen.ss_sp == stack.ss_sp);
    CHECK(pthread_kill(pthread_self(), SIGUSR1) == 0 && handled == round + 1);
    pause_ms(me + round % 4 * 8);  // for some long enough to have gone on elsewhere again
  }
  shared[1 + me] = own;
  return NULL;
}

// Is sent signals while it touches the memory all the time.
static void* spin(void* argument) {
  (void)argument;
  ++waiting;
  while (handled < 20) shared[0] = shared[0];
  return NULL;
}

static void* wait_for_ever(void* argument) {
  (void)argument;
  ++waiting;
  sem_wait(never);
  return NULL;
}

static void fork_and_wait(void) {
  const pid_t child = fork();
  if (child == 0) {
    shared[0] = 42;
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void* fork_from_here(void* argument) {
  CHECK(shared[0] == 42);
  fork_and_wait();
  return argument;
}

int main(void) {
  shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  never = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED && never != MAP_FAILED && sem_init(never, 1, 0) == 0);
  CHECK(signal(SIGUSR1, on_signal) != SIG_ERR);
  fork_and_wait();
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
  long sum = 0;
  for (int i = 0; i < kThreads; ++i) sum += shared[1 + i];
  printf("%ld\n", sum);

  start_all(threads, spin);
  while (waiting < kThreads) pause_ms(1);
  for (int i = 0; i < kThreads; ++i) {
    while (pthread_kill(threads[i], 0) == 0 && pthread_kill(threads[i], SIGUSR1) == 0 &&
           pthread_tryjoin_np(threads[i], NULL) != 0)
      pause_ms(1);
  }

  waiting = 0;
  start_all(threads, wait_for_ever);
  while (waiting < kThreads) pause_ms(1);
  for (int i = 0; i < kThreads; ++i) CHECK(pthread_cancel(threads[i]) == 0);
  for (int i = 0; i < kThreads; ++i) CHECK(join(threads[i]) == PTHREAD_CANCELED);

  for (long i = 1; i < 4; ++i) CHECK(join(start(fork_from_here, (void*)i)) == (void*)i);
  puts("ok");
  return 0;
}
