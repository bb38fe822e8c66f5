// posix_spawn, vfork, fork and exec, system, popen; from the main thread and from others.
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include "check.h"

extern char** environ;

static int wait_for(pid_t child) {
  int status;
  CHECK(child > 0 && waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int spawn(const char* command) {
  pid_t child;
  char* arguments[] = {"sh", "-c", (char*)command, NULL};
  CHECK(posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environ) == 0);
  return wait_for(child);
}

static int with_vfork(const char* command) {
  const pid_t child = vfork();
  if (child == 0) {
    execl("/bin/sh", "sh", "-c", command, (char*)NULL);
    _exit(127);
  }
  return wait_for(child);
}

static int with_fork(const char* command) {
  const pid_t child = fork();
  if (child == 0) {
    execlp("sh", "sh", "-c", command, (char*)NULL);
    _exit(127);
  }
  return wait_for(child);
}

static int with_popen(const char* command) {
  FILE* const stream = popen(command, "r");
  CHECK(stream != NULL);
  char line[100];
  while (fgets(line, sizeof line, stream) != NULL) {
    fputs(line, stdout);
    fflush(stdout);
  }
  return WEXITSTATUS(pclose(stream));
}

static int with_system(const char* command) { return WEXITSTATUS(system(command)); }

static void* all(void* argument) {
  (void)argument;
  printf("%d\n", spawn("echo spawned; exit 11")), fflush(stdout);
  printf("%d\n", with_vfork("echo vforked; exit 12")), fflush(stdout);
  printf("%d\n", with_fork("echo forked; exit 13")), fflush(stdout);
  printf("%d\n", with_popen("echo from a pipe; exit 14")), fflush(stdout);
  printf("%d\n", with_system("echo by system; exit 15")), fflush(stdout);
  return NULL;
}

static void* quiet(void* argument) {
  (void)argument;
  CHECK(spawn("exit 21") == 21 && with_vfork("exit 22") == 22 && with_fork("exit 23") == 23);
  CHECK(with_popen("exit 24") == 24 && with_system("exit 25") == 25);
  return NULL;
}

int main(void) {
  all(NULL);
  join(start(all, NULL));
  pthread_t threads[4];
  for (int i = 0; i < 4; ++i) threads[i] = start(quiet, NULL);
  for (int i = 0; i < 4; ++i) join(threads[i]);

  pid_t child;
  char* arguments[] = {"cat", NULL};
  CHECK(posix_spawnp(&child, "there-is-no-such-program", NULL, NULL, arguments, environ) == ENOENT);
  int ends[2];
  CHECK(pipe(ends) == 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[0], 0);
  posix_spawn_file_actions_addclose(&actions, ends[1]);
  CHECK(posix_spawnp(&child, "cat", &actions, NULL, arguments, environ) == 0);
  CHECK(write(ends[1], "through cat\n", 12) == 12 && close(ends[1]) == 0 && close(ends[0]) == 0);
  CHECK(wait_for(child) == 0);
  setenv("GIVEN", "to the child", 1);
  CHECK(spawn("echo $GIVEN") == 0);
  CHECK(spawn("kill -9 $$") == -9);
  puts("ok");
  return 0;
}
