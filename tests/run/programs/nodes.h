// Where a thread runs, as Linux shows it to any program.
#pragma once

#include <sys/syscall.h>

#include "check.h"

static inline unsigned present_node(void) {
  unsigned processor = 0, node = 0;
  CHECK(syscall(SYS_getcpu, &processor, &node, NULL) == 0);
  return node;
}

static inline int nodes_of_machine(void) {
  FILE* const file = fopen("/sys/devices/system/node/online", "r");
  int first = 0, last = 0;
  CHECK(file != NULL);
  if (fscanf(file, "%d-%d", &first, &last) < 2) last = first;
  fclose(file);
  return last - first + 1;
}
