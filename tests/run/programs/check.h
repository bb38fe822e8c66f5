// What the programs share. They know nothing of gallocy: each prints the same wherever its threads run.
#pragma once

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// Says which condition failed and ends the program.
#define CHECK(condition)                                                                          \
  do {                                                                                            \
    if (!(condition)) {                                                                           \
      char check_text[400];                                                                       \
      int check_bytes = snprintf(check_text, sizeof check_text, "%s:%d: failed: %s (errno %d)\n", \
                                 strrchr("/" __FILE__, '/') + 1, __LINE__, #condition, errno);    \
      fflush(stdout);                                                                             \
      if (write(1, check_text, (size_t)check_bytes) < 0) _exit(2);                                \
      _exit(1);                                                                                   \
    }                                                                                             \
  } while (0)

// Enough threads that every one of four nodes has some.
enum { kThreads = 8 };

static inline pthread_t start(void* (*body)(void*), void* argument) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, body, argument) == 0);
  return thread;
}

static inline void* join(pthread_t thread) {
  void* result = NULL;
  CHECK(pthread_join(thread, &result) == 0);
  return result;
}

static inline void start_all(pthread_t* threads, void* (*body)(void*)) {
  for (long i = 0; i < kThreads; ++i) threads[i] = start(body, (void*)i);
}

static inline void join_all(pthread_t* threads) {
  for (int i = 0; i < kThreads; ++i) join(threads[i]);
}

static inline void pause_ms(long ms) {
  struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
}

static inline struct timespec after_ms(clockid_t clock, long ms) {
  struct timespec when;
  clock_gettime(clock, &when);
  when.tv_nsec += ms * 1000000;
  when.tv_sec += when.tv_nsec / 1000000000;
  when.tv_nsec %= 1000000000;
  return when;
}

static inline long ms_since(clockid_t clock, struct timespec begin) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000;
}
