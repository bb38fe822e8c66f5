// Stacks: sizes asked for, deep recursion, alloca, a stack of the program's own, pthread_getattr_np, guard size.
#define _GNU_SOURCE
#include <alloca.h>
#include <sys/mman.h>

#include "check.h"

static long recurse(int depth) {
  volatile char here[1000];
  here[0] = (char)depth;
  here[999] = 1;
  return depth == 0 ? 0 : recurse(depth - 1) + here[999];
}

static void* deep(void* argument) {
  const size_t bytes = (size_t)argument;
  const long depth = (long)(bytes / 2 / 1100);
  CHECK(recurse((int)depth) == depth);
  volatile char* const block = alloca(bytes / 2);
  for (size_t i = 0; i < bytes / 2; i += 4096) block[i] = (char)i;
  pthread_attr_t attributes;
  void* low;
  size_t size, guard;
  CHECK(pthread_getattr_np(pthread_self(), &attributes) == 0);
  CHECK(pthread_attr_getstack(&attributes, &low, &size) == 0);
  CHECK(pthread_attr_getguardsize(&attributes, &guard) == 0);
  CHECK(size == bytes || size + guard == bytes);
  char here;
  CHECK(&here > (char*)low && &here < (char*)low + size);
  pthread_attr_destroy(&attributes);
  return (void*)depth;
}

static void* on_own_stack(void* argument) {
  char here;
  CHECK(&here > (char*)argument && &here < (char*)argument + (1 << 20));
  return argument;
}

int main(void) {
  pthread_attr_t attributes;
  const size_t sizes[] = {64 << 10, 1 << 20, 8 << 20, 64 << 20};
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 4; ++i) {
      pthread_t thread;
      pthread_attr_init(&attributes);
      CHECK(pthread_attr_setstacksize(&attributes, sizes[i]) == 0);
      CHECK(pthread_create(&thread, &attributes, deep, (void*)sizes[i]) == 0);
      printf("depth %ld\n", (long)join(thread));
    }
  }
  printf("main %ld\n", recurse(5000));
  CHECK(pthread_getattr_np(pthread_self(), &attributes) == 0);
  void* low;
  size_t size;
  char here;
  CHECK(pthread_attr_getstack(&attributes, &low, &size) == 0);
  CHECK(&here > (char*)low && &here < (char*)low + size);

  void* const own = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  CHECK(own != MAP_FAILED);
  pthread_attr_init(&attributes);
  CHECK(pthread_attr_setstack(&attributes, own, 1 << 20) == 0);
  pthread_t thread;
  CHECK(pthread_create(&thread, &attributes, on_own_stack, own) == 0);
  CHECK(join(thread) == own);
  CHECK(munmap(own, 1 << 20) == 0);
  puts("ok");
  return 0;
}
