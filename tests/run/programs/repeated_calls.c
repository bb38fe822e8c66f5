// System calls from the same place many times, as a runtime may make them cheaper after the first few: registers,
// results, signals, cancellation and children stay as they are for one call.
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "check.h"

enum { kTimes = 200 };

static volatile long handled;
static void handler(int signal) {
  (void)signal;
  __atomic_add_fetch(&handled, 1, __ATOMIC_RELAXED);
  CHECK(getppid() > 0);  // a call from the same place within a handler
}

// Everything but rax, rcx and r11 is as it was, the vector registers and the red zone too.
static void registers(void) {
  uint64_t before[8], after[8], red[2], result = 0;
  for (int i = 0; i < 8; ++i) before[i] = 0x1111111111111111u * (unsigned)(i + 1);
  __asm__ volatile(
      "movq %[in], %%rbx\n"
      "movq 0(%%rbx), %%rdi\n movq 8(%%rbx), %%rsi\n movq 16(%%rbx), %%rdx\n movq 24(%%rbx), %%r10\n"
      "movq 32(%%rbx), %%r8\n movq 40(%%rbx), %%r9\n movq 48(%%rbx), %%xmm3\n movq 56(%%rbx), %%xmm15\n"
      "movq 0(%%rbx), %%r12\n movq %%r12, -8(%%rsp)\n movq 8(%%rbx), %%r12\n movq %%r12, -120(%%rsp)\n"
      ".balign 64\n"
      "movl $110, %%eax\n syscall\n"  // getppid
      "movq %%rax, %[result]\n"
      "movq %[out], %%rbx\n"
      "movq %%rdi, 0(%%rbx)\n movq %%rsi, 8(%%rbx)\n movq %%rdx, 16(%%rbx)\n movq %%r10, 24(%%rbx)\n"
      "movq %%r8, 32(%%rbx)\n movq %%r9, 40(%%rbx)\n movq %%xmm3, 48(%%rbx)\n movq %%xmm15, 56(%%rbx)\n"
      "movq %[red], %%rbx\n"
      "movq -8(%%rsp), %%r12\n movq %%r12, 0(%%rbx)\n movq -120(%%rsp), %%r12\n movq %%r12, 8(%%rbx)\n"
      : [result] "=&m"(result)
      : [in] "r"(before), [out] "r"(after), [red] "r"(red)
      : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "xmm3", "xmm15", "memory");
  CHECK(memcmp(before, after, sizeof before) == 0);
  CHECK(red[0] == before[0] && red[1] == before[1]);
  CHECK((long)result == getppid());
}

static int file;

static void* calls(void* argument) {
  const long me = (long)argument;
  const pid_t parent = getppid();
  const long tid = syscall(SYS_gettid);
  int pipes[2];
  CHECK(pipe(pipes) == 0);
  for (long i = 0; i < kTimes; ++i) {
    char byte = (char)(me + i), back = 0;
    CHECK(pread(file, &back, 1, i) == 1 && back == (char)i);
    CHECK(write(pipes[1], &byte, 1) == 1 && read(pipes[0], &back, 1) == 1 && back == byte);
    CHECK(getppid() == parent && syscall(SYS_gettid) == tid);
    CHECK(syscall(SYS_lseek, -1, 0, SEEK_CUR) == -1 && errno == EBADF);
    registers();
  }
  close(pipes[0]);
  close(pipes[1]);
  return NULL;
}

static int pipes[2];
static volatile int outcome;

static void* reader(void* argument) {
  char byte;
  for (int i = 0; i < 50; ++i) CHECK(read(pipes[0], &byte, 1) == 1);
  outcome = 1;
  outcome = (int)read(pipes[0], &byte, 1) == 1 ? 2 : errno == EINTR ? 3 : 4;
  return argument;
}

static void interrupted(int flags, int wanted) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && pipe(pipes) == 0);
  outcome = 0;
  const pthread_t thread = start(reader, NULL);
  for (int i = 0; i < 50; ++i) CHECK(write(pipes[1], "", 1) == 1);
  while (outcome == 0) pause_ms(1);
  const long before = handled;
  for (int i = 0; i < 2000 && (wanted == 3 ? outcome == 1 : handled < before + 5); ++i) {
    CHECK(pthread_kill(thread, SIGUSR1) == 0);
    pause_ms(2);
  }
  CHECK(handled > before);
  if (wanted == 2) {
    CHECK(outcome == 1 && write(pipes[1], "", 1) == 1);
  }
  join(thread);
  CHECK(outcome == wanted);
  close(pipes[0]);
  close(pipes[1]);
}

static void* never_waits(void* argument) {
  for (int i = 0; i < 300 || handled < 400; ++i) {
    CHECK(syscall(SYS_lseek, -1, 0, SEEK_CUR) == -1 && errno == EBADF);
    const int copy = dup(file);
    CHECK(copy >= 0 && close(copy) == 0);
  }
  outcome = 1;
  return argument;
}

// Signals come all the time; calls that do not wait know nothing of them.
static void undisturbed(void) {
  struct sigaction action = {.sa_handler = handler};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  outcome = 0, handled = 0;
  const pthread_t thread = start(never_waits, NULL);
  while (outcome == 0) {
    pthread_kill(thread, SIGUSR1);
    usleep(100);
  }
  join(thread);
  printf("undisturbed\n");
}

static void count(void* argument) { ++*(int*)argument; }

static void* cancelled(void* argument) {
  char byte;
  pthread_cleanup_push(count, argument);
  for (;;) CHECK(read(pipes[0], &byte, 1) == 1);
  pthread_cleanup_pop(0);
  return NULL;
}

static void cancellation(void) {
  CHECK(pipe(pipes) == 0);
  int cleaned = 0;
  for (int i = 0; i < 20; ++i) {
    const pthread_t thread = start(cancelled, &cleaned);
    for (int j = 0; j < 40; ++j) CHECK(write(pipes[1], "", 1) == 1);
    if (i % 2 == 0) pause_ms(2);
    CHECK(pthread_cancel(thread) == 0 && join(thread) == PTHREAD_CANCELED);
  }
  printf("cleaned %d\n", cleaned);
}

static void child(void) {
  fflush(stdout);
  const pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    pthread_t threads[kThreads];
    start_all(threads, calls);
    join_all(threads);
    _exit(7);
  }
  int status = 0;
  CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
  CHECK(system("exit 3") >> 8 == 3);
}

int main(void) {
  file = open(".", O_TMPFILE | O_RDWR, 0600);
  if (file < 0) file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
  CHECK(file >= 0);
  for (int i = 0; i < kTimes; ++i) {
    const char byte = (char)i;
    CHECK(write(file, &byte, 1) == 1);
  }
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  const struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
  CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
  pthread_t threads[kThreads];
  start_all(threads, calls);
  calls((void*)100);
  join_all(threads);
  CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
  printf("calls done\n");
  interrupted(0, 3);
  interrupted(SA_RESTART, 2);
  printf("interrupted\n");
  undisturbed();
  cancellation();
  child();
  printf("child done\n");
  return 0;
}
