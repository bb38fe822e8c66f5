// Memory policies by the system calls, as libnuma makes them: memory is where it was asked to be, on any thread.
#define _GNU_SOURCE
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "check.h"

enum { kBytes = 1 << 20, kStep = 256 << 10, kPage = 4096 };
static int nodes;

static long node_of(void* address) {
  int node = -1;
  return syscall(SYS_get_mempolicy, &node, NULL, 0, address, MPOL_F_NODE | MPOL_F_ADDR) == 0 ? node : -errno;
}

static char* map(void) {
  char* const memory = mmap(NULL, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  return memory;
}

static int all_on(char* memory, int node) {
  for (int i = 0; i < kBytes; i += kStep) {
    if (node_of(memory + i) != node) return 0;
  }
  return 1;
}

static void* fill(void* memory) {
  memset(memory, 7, kBytes);
  return NULL;
}

static void bound(int node) {
  unsigned long mask = 1UL << node, other = 1UL << (node + 1) % nodes;
  char* const memory = map();
  CHECK(syscall(SYS_mbind, memory, kBytes, MPOL_BIND, &mask, 64, 0) == 0);
  CHECK(all_on(memory, node));
  join(start(fill, memory));
  CHECK(all_on(memory, node));
  // It moves when nobody uses it any more, of which a node may hear late.
  int moved = 0;
  for (int tries = 0; tries < 1000 && !moved; ++tries) {
    CHECK(syscall(SYS_mbind, memory, kBytes, MPOL_PREFERRED, &other, 64, MPOL_MF_MOVE) == 0);
    moved = all_on(memory, (node + 1) % nodes);
  }
  CHECK(moved);
  void* pages[2] = {memory + kPage, memory + kBytes - kPage};
  int there[2] = {node, node}, status[2] = {-1, -1};
  for (int tries = 0; tries < 1000 && (status[0] != node || status[1] != node); ++tries) {
    CHECK(syscall(SYS_move_pages, 0, 2UL, pages, there, status, MPOL_MF_MOVE) == 0);
  }
  CHECK(status[0] == node && status[1] == node);
  for (int i = 0; i < kBytes; ++i) CHECK(memory[i] == 7);
  CHECK(munmap(memory, kBytes) == 0 && node_of(memory) == -EFAULT);
}

static void interleaved(void) {
  unsigned long mask = (1UL << nodes) - 1, seen = 0;
  char* const memory = map();
  CHECK(syscall(SYS_mbind, memory, kBytes, MPOL_INTERLEAVE, &mask, 64, 0) == 0);
  memset(memory, 1, kBytes);
  for (int i = 0; i < kBytes; i += 3 * kPage) seen |= 1UL << node_of(memory + i);
  CHECK(seen == mask);
  CHECK(munmap(memory, kBytes) == 0);
}

static void* with_policy(void* argument) {
  const int node = (int)(long)argument;
  unsigned long mask = 1UL << node, seen[16] = {0};
  int mode = -1;
  CHECK(syscall(SYS_set_mempolicy, MPOL_BIND, &mask, 64) == 0);
  CHECK(syscall(SYS_get_mempolicy, &mode, seen, 1024, NULL, 0) == 0 && mode == MPOL_BIND && seen[0] == mask);
  char* memory = map();
  memset(memory, 2, kBytes);
  CHECK(all_on(memory, node) && munmap(memory, kBytes) == 0);
  memory = mmap(NULL, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(memory != MAP_FAILED && mprotect(memory, kBytes, PROT_READ | PROT_WRITE) == 0);
  memset(memory, 3, kBytes);
  CHECK(all_on(memory, node) && munmap(memory, kBytes) == 0);
  CHECK(syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0) == 0);
  CHECK(syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0) == 0 && mode == MPOL_DEFAULT);
  return NULL;
}

int main(void) {
  unsigned long allowed[16] = {0}, none = 0;
  if (syscall(SYS_get_mempolicy, NULL, allowed, 1024, NULL, MPOL_F_MEMS_ALLOWED) != 0) {
    CHECK(errno == ENOSYS || errno == EPERM);  // a kernel without NUMA, or a container
    puts("ok");
    return 0;
  }
  nodes = __builtin_popcountl(allowed[0]);
  CHECK(nodes >= 1 && allowed[0] == (1UL << nodes) - 1);
  for (int node = 0; node < nodes; ++node) bound(node);
  interleaved();
  for (int node = 0; node < nodes; ++node) {
    with_policy((void*)(long)node);
    join(start(with_policy, (void*)(long)node));
  }
  char* const memory = map();
  CHECK(syscall(SYS_mbind, memory, kBytes, MPOL_BIND, &none, 64, 0) == -1 && errno == EINVAL);
  CHECK(syscall(SYS_mbind, memory + 1, kBytes, MPOL_BIND, allowed, 64, 0) == -1 && errno == EINVAL);
  CHECK(syscall(SYS_set_mempolicy, 77, allowed, 64) == -1 && errno == EINVAL);
  puts("ok");
  return 0;
}
