// Children of children, stdio in children, SIGCHLD.
#include <signal.h>
#include <sys/wait.h>

#include "check.h"

static volatile sig_atomic_t children;
static void handler(int signal) {
  (void)signal;
  ++children;
}

static int descend(int depth) {
  if (depth == 0) return 1;
  int sum = 1;
  for (int i = 0; i < 2; ++i) {
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(descend(depth - 1));
    int status;
    while (waitpid(child, &status, 0) != child) CHECK(errno == EINTR);
    sum += WEXITSTATUS(status);
  }
  return sum;
}

int main(void) {
  struct sigaction action = {.sa_handler = handler};
  CHECK(sigaction(SIGCHLD, &action, NULL) == 0);
  printf("tree %d\n", descend(3));
  fflush(stdout);
  for (int i = 0; i < 3; ++i) {
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      printf("child %d\n", i);
      exit(0);
    }
    while (waitpid(child, NULL, 0) != child) CHECK(errno == EINTR);
  }
  printf("children %d\n", children);
  return 0;
}
