// execve by the program itself, with threads alive: the new program takes over the process.
#include "check.h"

static void* runs_on(void* argument) {
  for (;;) pause_ms(100);
  return argument;
}

static void* execute(void* argument) {
  (void)argument;
  char* arguments[] = {"sh", "-c", "echo executed with $SOME; exit 9", NULL};
  char* environment[] = {"SOME=environment", "PATH=/usr/bin:/bin", NULL};
  char* nothing[] = {"x", NULL};
  CHECK(execve("./there-is-no-such-program", nothing, environment) == -1 && errno == ENOENT);
  execve("/bin/sh", arguments, environment);
  CHECK(!"execve returned");
  return NULL;
}

int main(void) {
  for (int i = 0; i < 3; ++i) start(runs_on, NULL);
  join(start(execute, NULL));
  return 1;
}
