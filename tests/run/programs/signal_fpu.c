// Registers over a handler: general, SSE, MXCSR and the x87 control word; the handler may change them.
#define _GNU_SOURCE
#include <fenv.h>
#include <math.h>
#include <signal.h>
#include <sys/ucontext.h>
#include <xmmintrin.h>

#include "check.h"

static _Thread_local volatile sig_atomic_t handled;

static void handler(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)info;
  ++handled;
  fesetround(FE_UPWARD);
  volatile double a = 1.5, b = 3;
  for (int i = 0; i < 20; ++i) a = sqrt(a * b) + (double)i;
  __asm__ volatile("pxor %%xmm0,%%xmm0; pxor %%xmm7,%%xmm7; pxor %%xmm15,%%xmm15" ::: "xmm0", "xmm7", "xmm15");
  CHECK(((ucontext_t*)context)->uc_mcontext.fpregs != NULL);
}

// Raises with tgkill directly, so that registers must live over one system call.
static void raise_with_registers(long process, long thread) {
  unsigned long in[4] = {0x1111, 0x2222, 0x3333, 0x4444}, out[4];
  double x[4] = {1.25, 2.5, 5, 10}, y[4];
  __asm__ volatile(
      "movsd %[x0], %%xmm0; movsd %[x1], %%xmm7; movsd %[x2], %%xmm8; movsd %[x3], %%xmm15;"
      "mov %[i0], %%rbx; mov %[i1], %%r12; mov %[i2], %%r13; mov %[i3], %%r14;"
      "mov $234, %%eax; syscall;"
      "mov %%rbx, %[o0]; mov %%r12, %[o1]; mov %%r13, %[o2]; mov %%r14, %[o3];"
      "movsd %%xmm0, %[y0]; movsd %%xmm7, %[y1]; movsd %%xmm8, %[y2]; movsd %%xmm15, %[y3]"
      : [o0] "=m"(out[0]), [o1] "=m"(out[1]), [o2] "=m"(out[2]), [o3] "=m"(out[3]), [y0] "=m"(y[0]), [y1] "=m"(y[1]),
        [y2] "=m"(y[2]), [y3] "=m"(y[3])
      : [i0] "m"(in[0]), [i1] "m"(in[1]), [i2] "m"(in[2]), [i3] "m"(in[3]), [x0] "m"(x[0]), [x1] "m"(x[1]),
        [x2] "m"(x[2]), [x3] "m"(x[3]), "D"(process), "S"(thread), "d"((long)SIGUSR1)
      : "rax", "rbx", "rcx", "r11", "r12", "r13", "r14", "xmm0", "xmm7", "xmm8", "xmm15", "memory");
  for (int i = 0; i < 4; ++i) CHECK(in[i] == out[i] && x[i] == y[i]);
}

static void* body(void* argument) {
  const int inherited = fegetround();
  CHECK(inherited == FE_TOWARDZERO);
  fesetround(FE_DOWNWARD);
  for (int i = 0; i < 50; ++i) {
    raise_with_registers(getpid(), gettid());
    CHECK(handled == i + 1 && fegetround() == FE_DOWNWARD);
    CHECK((_mm_getcsr() & _MM_ROUND_MASK) == _MM_ROUND_DOWN);
  }
  return argument;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  fesetround(FE_TOWARDZERO);
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
  CHECK(fegetround() == FE_TOWARDZERO);
  puts("ok");
  return 0;
}
