// Something for a debugger to look at (gdb.sh): the first thread waits some calls deep, for a line of input, and
// another thread, which may be on another node, wrote a variable last.
#include "check.h"

struct point {
  int x, y;
};
struct point* debugged_pointer;
int debugged_variable = 1;

static void* body(void* argument) {
  debugged_variable = 4711;
  debugged_pointer = malloc(sizeof *debugged_pointer);
  debugged_pointer->x = 17;
  return argument;
}

__attribute__((noinline)) static long innermost(long more) {
  char line[2] = "";
  puts("waiting");
  fflush(stdout);
  while (read(0, line, 1) == 1 && line[0] != '\n') {
  }
  return more + line[0];
}

__attribute__((noinline)) static long outermost(long more) { return innermost(more + 1) + 1; }

int main(void) {
  join(start(body, NULL));
  printf("%ld\n", outermost(5));
  return 0;
}
