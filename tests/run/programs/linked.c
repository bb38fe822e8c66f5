// A little of all, to be linked in other ways: static, static-pie, at a fixed address.
#include "check.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local int own = 3;
static long counter;
static char zeroes[100000];

static void* body(void* argument) {
  CHECK(own == 3);
  own = 4;
  for (int i = 0; i < 100; ++i) {
    pthread_mutex_lock(&mutex);
    ++counter;
    pthread_mutex_unlock(&mutex);
  }
  char* const text = strdup("from a thread");
  zeroes[(long)argument * 10000] = 1;
  return text;
}

static void at_end(void) { puts("handler"); }
__attribute__((constructor)) static void at_start(void) { puts("constructor"); }

int main(int argc, char** argv) {
  CHECK(argc == 1 && argv[1] == NULL);
  atexit(at_end);
  for (size_t i = 0; i < sizeof zeroes; ++i) CHECK(zeroes[i] == 0);
  pthread_t threads[kThreads];
  start_all(threads, body);
  for (int i = 0; i < kThreads; ++i) {
    char* const text = join(threads[i]);
    printf("%s\n", text);
    free(text);
    CHECK(zeroes[i * 10000] == 1);
  }
  printf("counter %ld own %d\n", counter, own);
  return 6;
}
