// What the program's dynamic linker loads before all other libraries (ld.so(8), LD_PRELOAD) on several nodes: the
// mutex functions of the C library with a note for the node's runtime around them (held_locks.h). The C library's own
// functions do the work; a note that is missing or too much costs time, never correctness.
//
// There is no other library here, and no thread-local data: what belongs to the thread lies in its GuestThread, which
// gs points to (guest_entry.h).
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

// guest_entry.cc and held_locks.h check these.
enum { kNotingAt = 29, kCountsAt = 88, kHeldAt = 96, kPagesAt = 104, kMostHeld = 7, kCounts = 4096, kPageShift = 12 };
static const uint32_t kWanted = 1u << 31;

#define OF_THREAD(type, place) ((type __seg_gs*)(uintptr_t)(place))

// The C library's other names for the same functions. Weak: where there are none, no thread can be, either (glibc
// before 2.34 without libpthread).
extern int __pthread_mutex_lock(pthread_mutex_t*) __attribute__((weak));
extern int __pthread_mutex_trylock(pthread_mutex_t*) __attribute__((weak));
extern int __pthread_mutex_unlock(pthread_mutex_t*) __attribute__((weak));

// While the thread has an address of the node in a register it cannot go on on another node.
static void begin_noting(void) { *(volatile char __seg_gs*)(uintptr_t)kNotingAt = 1; }
static void end_noting(void) { *(volatile char __seg_gs*)(uintptr_t)kNotingAt = 0; }

static void count_taking(const void* mutex) {
  uint32_t* const counts = *OF_THREAD(uint32_t*, kCountsAt);
  const uint64_t held = *OF_THREAD(uint64_t, kHeldAt);
  if (counts == NULL || held >= kMostHeld) return;
  const uint64_t page = (uintptr_t)mutex >> kPageShift;
  OF_THREAD(uint64_t, kPagesAt)[held] = page;
  *OF_THREAD(uint64_t, kHeldAt) = held + 1;
  __atomic_fetch_add(&counts[page % kCounts], 1, __ATOMIC_RELAXED);
}

static void note_taking(void* mutex) {
  begin_noting();
  count_taking(mutex);
  end_noting();
  if (*OF_THREAD(uint32_t*, kCountsAt) == NULL) return;
  // Written to without a change: a page that is elsewhere is fetched for writing at once. The function below would
  // read first.
  __asm__ volatile("lock orl $0, (%0)" : : "r"(mutex) : "memory", "cc");
}

// Whether the page's last lock was released, and another node waits for that.
static int count_released(uint64_t page) {
  uint32_t* const counts = *OF_THREAD(uint32_t*, kCountsAt);
  const uint64_t held = *OF_THREAD(uint64_t, kHeldAt);
  if (counts == NULL) return 0;
  for (uint64_t i = held; i-- > 0;) {
    if (OF_THREAD(uint64_t, kPagesAt)[i] != page) continue;
    OF_THREAD(uint64_t, kPagesAt)[i] = OF_THREAD(uint64_t, kPagesAt)[held - 1];
    *OF_THREAD(uint64_t, kHeldAt) = held - 1;
    return __atomic_sub_fetch(&counts[page % kCounts], 1, __ATOMIC_RELAXED) == kWanted;
  }
  return 0;
}

static void note_released(void* mutex) {
  const uint64_t page = (uintptr_t)mutex >> kPageShift;
  begin_noting();
  const int wanted = count_released(page);
  end_noting();
  if (!wanted) return;
  long ignored;  // kReleaseCall: the page may leave; a call site as can be patched (patched_sites.h)
  __asm__ volatile("movl $0x6c71, %%eax\n\tsyscall" : "=a"(ignored) : "D"(page) : "rcx", "r11", "memory");
}

int pthread_mutex_lock(pthread_mutex_t* mutex) {
  if (__pthread_mutex_lock == NULL) return 0;
  note_taking(mutex);
  const int result = __pthread_mutex_lock(mutex);
  if (result != 0 && result != EOWNERDEAD) note_released(mutex);
  return result;
}

int pthread_mutex_trylock(pthread_mutex_t* mutex) {
  if (__pthread_mutex_trylock == NULL) return 0;
  note_taking(mutex);
  const int result = __pthread_mutex_trylock(mutex);
  if (result != 0 && result != EOWNERDEAD) note_released(mutex);
  return result;
}

int pthread_mutex_unlock(pthread_mutex_t* mutex) {
  if (__pthread_mutex_unlock == NULL) return 0;
  const int result = __pthread_mutex_unlock(mutex);
  note_released(mutex);
  return result;
}
