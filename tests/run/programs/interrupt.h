// For programs that define _GNU_SOURCE.
#pragma once

#include <signal.h>

#include "check.h"

// Ends a call that the thread is in, or is about to make, and waits for the thread's end. A signal that comes before
// the call does not interrupt it, so there may be several.
static inline void interrupt(pthread_t thread, int signal) {
  while (pthread_tryjoin_np(thread, NULL) != 0) {
    CHECK(pthread_kill(thread, signal) == 0);
    pause_ms(20);
  }
}
