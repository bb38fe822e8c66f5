// Part of the preloaded library (preload.h): the affinity of a thread's attributes chooses its node.
//
// The C library gives a new thread that affinity when it is there already (glibc, nptl/pthread_create.c), and threads
// do not move. So the maker has it while it makes the thread, which inherits it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>

typedef struct {
  unsigned long words[8192 / 64];  // as many processors as Linux knows on x86-64
} Mask;

// Weak: before glibc 2.34 only programs that are linked with libdl have it.
extern void* dlsym(void*, const char*) __attribute__((weak));

typedef int Create(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);

// Attributes without an affinity name all processors.
static int names_some(const pthread_attr_t* attributes, Mask* mask) {
  if (attributes == NULL || pthread_attr_getaffinity_np(attributes, sizeof *mask, (cpu_set_t*)mask) != 0) return 0;
  for (size_t i = 0; i < sizeof mask->words / sizeof mask->words[0]; ++i) {
    if (mask->words[i] != ~0ul) return 1;
  }
  return 0;
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*body)(void*), void* argument) {
  Create* const create = dlsym != NULL ? (Create*)dlsym(RTLD_NEXT, "pthread_create") : NULL;
  if (create == NULL) return EAGAIN;
  Mask wanted, own = {{0}};
  if (!names_some(attributes, &wanted)) return create(thread, attributes, body, argument);
  const int saved = errno;
  const int changed = sched_getaffinity(0, sizeof own, (cpu_set_t*)&own) >= 0 &&
                      sched_setaffinity(0, sizeof wanted, (const cpu_set_t*)&wanted) == 0;
  const int result = create(thread, attributes, body, argument);
  if (changed) sched_setaffinity(0, sizeof own, (const cpu_set_t*)&own);
  errno = saved;
  return result;
}
