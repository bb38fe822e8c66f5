// execve from each of several threads in turn, while the others wait in every way there is: the process stays, its
// handlers are gone, and what was to be closed is closed.
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>

#include "check.h"

enum { kRounds = 4 };

static int pipe_ends[2];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t ready;
static long round_number;

static void handler(int signal) { (void)signal; }

static void* waits(void* argument) {
  sigset_t set;
  char byte;
  pthread_barrier_wait(&ready);
  switch ((long)argument) {
    case 0:
      CHECK(read(pipe_ends[0], &byte, 1) == 1);
      break;
    case 1:
      sigemptyset(&set);
      sigaddset(&set, SIGUSR2);
      pthread_sigmask(SIG_BLOCK, &set, NULL);
      sigwaitinfo(&set, NULL);
      break;
    case 2:
      pthread_mutex_lock(&mutex);
      pthread_cond_wait(&never, &mutex);
      break;
    default:
      for (;;) pause_ms(1000);
  }
  CHECK(!"it went on");
  return NULL;
}

static void* execute(void* argument) {
  char next[32], pid[32], fd[32];
  char* volatile nowhere = (char*)8;
  pthread_barrier_wait(&ready);
  snprintf(next, sizeof next, "%ld", round_number + 1);
  snprintf(pid, sizeof pid, "%d", getpid());
  snprintf(fd, sizeof fd, "%d", open("/dev/null", O_RDONLY | O_CLOEXEC));
  char* arguments[] = {"execute_remote", next, pid, fd, NULL};
  char* environment[] = {"SOME=environment", NULL};
  CHECK(execve("./there-is-no-such-program", arguments, environment) == -1 && errno == ENOENT);
  CHECK(execve("/tmp", arguments, environment) == -1 && errno == EACCES);
  CHECK(execve(nowhere, arguments, environment) == -1 && errno == EFAULT);
  execve("/proc/self/exe", arguments, environment);
  CHECK(!"execve returned");
  return argument;
}

// argv: 0: name, 1: round, 2: the process's id, 3: a descriptor that is closed
static void check_arrival(int argc, char** argv) {
  struct sigaction action;
  char byte;
  CHECK(argc == 4 && atoi(argv[2]) == getpid() && syscall(SYS_gettid) == getpid());
  CHECK(strcmp(getenv("SOME"), "environment") == 0);
  CHECK(read(atoi(argv[3]), &byte, 1) == -1 && errno == EBADF);
  CHECK(sigaction(SIGUSR1, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
  CHECK(sigaction(SIGHUP, NULL, &action) == 0 && action.sa_handler == SIG_IGN);
}

int main(int argc, char** argv) {
  struct sigaction action = {.sa_handler = handler};
  round_number = argc > 1 ? atol(argv[1]) : 0;
  printf("round %ld\n", round_number);
  fflush(stdout);
  if (round_number > 0) check_arrival(argc, argv);
  if (round_number == kRounds) return 9;
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  signal(SIGHUP, SIG_IGN);
  CHECK(pipe2(pipe_ends, O_CLOEXEC) == 0);
  CHECK(pthread_barrier_init(&ready, NULL, 5) == 0);
  for (long i = 0; i < 5; ++i) start(i == round_number ? execute : waits, (void*)i);
  for (;;) pause_ms(1000);
}
