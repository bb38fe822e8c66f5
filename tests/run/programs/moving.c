// Threads that the runtime moves all the time (run_program.sh: GALLOCY_TEST_MOVES) keep all that they are: registers,
// vector registers, rounding, identity, thread-local data, masks, names, alternate stacks, processor time.
#include <fenv.h>
#include <immintrin.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

#include "nodes.h"

enum { kRounds = 4000, kLanes = 4, kSecondsToMove = 60 };

static __thread int own;
static volatile unsigned nodes_seen[kThreads];  // a set of each thread
static volatile int handled[kThreads];
static pthread_t threads[kThreads];
static pthread_barrier_t all_here, all_sent;

static void handler(int signal) {
  (void)signal;
  ++handled[own];
}

// The same operations in vector registers, which live across all of it, and in memory.
__attribute__((noinline)) static void compute(long seed) {
  double plain[kLanes];
  for (int i = 0; i < kLanes; ++i) plain[i] = (double)(seed + i);
  __m128d low = _mm_loadu_pd(plain), high = _mm_loadu_pd(plain + 2);
  const __m128d factor = _mm_set1_pd(1.0000001), term = _mm_set1_pd(0.3);
  for (int round = 0; round < kRounds; ++round) {
    low = _mm_add_pd(_mm_mul_pd(low, factor), term);
    high = _mm_add_pd(_mm_mul_pd(high, factor), term);
  }
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < kLanes; ++i) {
      volatile double product = plain[i] * 1.0000001;
      plain[i] = product + 0.3;
    }
  }
  double result[kLanes];
  _mm_storeu_pd(result, low);
  _mm_storeu_pd(result + 2, high);
  for (int i = 0; i < kLanes; ++i) CHECK(result[i] == plain[i]);
}

static void* body(void* argument) {
  const long me = (long)argument;
  own = (int)me;
  int* const address = &own;
  char name[16], found[16];
  static char stacks[kThreads][65536];
  const stack_t stack = {.ss_sp = stacks[me], .ss_size = sizeof stacks[me]};
  stack_t stack_now;
  sigset_t blocked, mask_now;
  const pid_t id = (pid_t)syscall(SYS_gettid);
  snprintf(name, sizeof name, "mover %ld", me);
  CHECK(pthread_setname_np(pthread_self(), name) == 0 && sigaltstack(&stack, NULL) == 0);
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2);
  CHECK(pthread_sigmask(SIG_BLOCK, &blocked, NULL) == 0);
  CHECK(fesetround(me % 2 == 0 ? FE_UPWARD : FE_TONEAREST) == 0);
  pthread_barrier_wait(&all_here);
  const time_t end = time(NULL) + kSecondsToMove;
  struct timespec used = {0}, before = {0};
  const int wanted = nodes_of_machine() > 1 ? 2 : 1;
  for (int signals = 0; signals < 20 || __builtin_popcount(nodes_seen[me]) < wanted; ++signals) {
    CHECK(time(NULL) < end);
    compute(me + signals);
    nodes_seen[me] |= 1u << present_node();
    CHECK(fegetround() == (me % 2 == 0 ? FE_UPWARD : FE_TONEAREST));
    CHECK(&own == address && own == me && pthread_equal(pthread_self(), threads[me]));
    CHECK((pid_t)syscall(SYS_gettid) == id);
    CHECK(sigaltstack(NULL, &stack_now) == 0 && stack_now.ss_sp == stack.ss_sp);
    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &mask_now) == 0 && sigismember(&mask_now, SIGUSR2) == 1);
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) == 0);
    CHECK(used.tv_sec > before.tv_sec || (used.tv_sec == before.tv_sec && used.tv_nsec >= before.tv_nsec));
    before = used;
    if (signals < 20) {
      errno = pthread_kill(threads[(me + 1) % kThreads], SIGUSR1);
      CHECK(errno == 0);
    }
  }
  while (handled[me] == 0) pause_ms(1);
  pthread_barrier_wait(&all_sent);  // whoever is sent a signal is there
  CHECK(pthread_getname_np(pthread_self(), found, sizeof found) == 0 && strcmp(found, name) == 0);
  return NULL;
}

int main(void) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK | SA_RESTART};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  pthread_barrier_init(&all_here, NULL, kThreads + 1);
  pthread_barrier_init(&all_sent, NULL, kThreads);
  start_all(threads, body);
  pthread_barrier_wait(&all_here);  // the threads use each other's handles
  join_all(threads);
  puts("ok");
  return 0;
}
