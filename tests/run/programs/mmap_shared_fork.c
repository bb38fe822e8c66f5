// MAP_SHARED memory stays shared between the program and a child made by fork.
#include <sys/mman.h>
#include <sys/wait.h>

#include "check.h"

static void* write_more(void* argument) {
  ((int*)argument)[1] = 2;
  return NULL;
}

int main(void) {
  int* const cells = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int* const own = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(cells != MAP_FAILED && own != MAP_FAILED);
  cells[0] = own[0] = 1;
  join(start(write_more, cells));
  const pid_t child = fork();
  if (child == 0) {
    cells[2] = cells[0] + cells[1];
    own[0] = 99;
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  printf("%d %d\n", cells[2], own[0]);
  return 0;
}
