// Atomic operations on memory that all threads share: add, exchange, compare-and-swap, 16 bytes, message passing.
#include <stdatomic.h>
#include <stdint.h>

#include "check.h"

static atomic_long sum, stack_top;
static atomic_uchar small;
static _Atomic(uintptr_t) list;
static atomic_int flags[2], turn;
static long guarded, data, seen_wrong;
static atomic_int published;

struct item {
  struct item* next;
  long value;
};

static void* body(void* argument) {
  const long me = (long)argument;
  for (int i = 0; i < 1000; ++i) {
    atomic_fetch_add(&sum, i);
    atomic_fetch_xor(&small, (unsigned char)i);
    long expected = atomic_load(&stack_top);
    while (!atomic_compare_exchange_weak(&stack_top, &expected, expected + 1)) continue;
  }
  for (int i = 0; i < 50; ++i) {
    struct item* const item = malloc(sizeof *item);
    item->value = me;
    uintptr_t top = atomic_load(&list);
    do item->next = (struct item*)top;
    while (!atomic_compare_exchange_weak(&list, &top, (uintptr_t)item));
  }
  return NULL;
}

// Peterson's algorithm: needs sequential consistency.
static void* peterson(void* argument) {
  const int me = (int)(long)argument % 2, other = 1 - me;
  if ((long)argument >= 2) return NULL;
  for (int i = 0; i < 300; ++i) {
    atomic_store(&flags[me], 1);
    atomic_store(&turn, other);
    while (atomic_load(&flags[other]) && atomic_load(&turn) == other) continue;
    ++guarded;
    atomic_store(&flags[me], 0);
  }
  return NULL;
}

static void* publish(void* argument) {
  for (int i = 1; i <= 300; ++i) {
    if ((long)argument == 0) {
      data = i;
      atomic_store_explicit(&published, i, memory_order_release);
      while (atomic_load(&published) != -i) continue;
    } else if ((long)argument == 1) {
      while (atomic_load_explicit(&published, memory_order_acquire) != i) continue;
      if (data != i) ++seen_wrong;
      atomic_store(&published, -i);
    }
  }
  return NULL;
}

int main(void) {
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
  long items = 0, values = 0;
  for (struct item* item = (struct item*)list; item != NULL; item = item->next) ++items, values += item->value;
  printf("sum %ld top %ld small %d items %ld values %ld\n", sum, stack_top, small, items, values);
  start_all(threads, peterson);
  join_all(threads);
  start_all(threads, publish);
  join_all(threads);
  printf("guarded %ld wrong %ld\n", guarded, seen_wrong);
  return 0;
}
