// fork: children compute on a private copy and end with a status or a signal; forks from threads; pthread_atfork.
#include <signal.h>
#include <sys/wait.h>

#include "check.h"

static int cells[10000], own = 1, prepared, in_parent;
static void prepare(void) { ++prepared; }
static void parent(void) { ++in_parent; }
static void child_side(void) { own = 100; }

static int wait_for(pid_t child) {
  int status;
  CHECK(child > 0 && waitpid(child, &status, 0) == child);
  return status;
}

static void* fork_in_thread(void* argument) {
  const long me = (long)argument;
  int on_stack = 5;
  const pid_t child = fork();
  if (child == 0) {
    on_stack = 6;
    cells[0] = 77;
    char* const block = malloc(10000);
    memset(block, 1, 10000);
    free(block);
    _exit((int)me + on_stack);
  }
  const int status = wait_for(child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == me + 6 && on_stack == 5);
  return NULL;
}

static void* write_cells(void* argument) {
  for (int i = 0; i < 10000; ++i) cells[i] += 1;
  return argument;
}

int main(void) {
  join(start(write_cells, NULL));
  pid_t child = fork();
  if (child == 0) {
    int sum = 0;
    for (int i = 0; i < 10000; ++i) sum += cells[i];
    own = 2;
    _exit(sum == 10000 && getppid() > 1 ? 5 : 6);
  }
  int status = wait_for(child);
  printf("status %d own %d\n", WEXITSTATUS(status), own);

  CHECK(pthread_atfork(prepare, parent, child_side) == 0);
  pthread_t threads[kThreads];
  start_all(threads, fork_in_thread);
  join_all(threads);
  CHECK(cells[0] == 1);
  printf("prepared %d parent %d own %d\n", prepared, in_parent, own);

  int ends[2];
  CHECK(pipe(ends) == 0);
  child = fork();
  if (child == 0) {  // a thread in the child
    pthread_t thread;
    long result = pthread_create(&thread, NULL, write_cells, (void*)9) == 0;
    pthread_join(thread, (void**)&result);
    if (write(ends[1], &result, sizeof result) != sizeof result) _exit(1);
    exit(cells[5] == 2 && own == 100 ? 0 : 2);
  }
  long result = 0;
  CHECK(read(ends[0], &result, sizeof result) == sizeof result && result == 9);
  CHECK(wait_for(child) == 0);

  child = fork();
  if (child == 0)
    for (;;) pause();
  CHECK(kill(child, SIGKILL) == 0);
  status = wait_for(child);
  printf("killed %d %d\n", WIFSIGNALED(status), WTERMSIG(status));
  child = fork();
  if (child == 0) abort();
  printf("aborted %d\n", WTERMSIG(wait_for(child)));
  CHECK(waitpid(-1, &status, WNOHANG) == -1 && errno == ECHILD);
  return 0;
}
