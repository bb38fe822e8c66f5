// Runs that are to fail. Each is in a process of its own, because a failed CHECK ends it.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

namespace gallocy::sim {

// True: `run` was stopped by a checker, by a CHECK of the core's own, or after `most_seconds` (going round for ever is
// caught too).
template <typename Run>
bool fails_in_a_child(unsigned most_seconds, Run&& run) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    (void)std::freopen("/dev/null", "w", stderr);
    std::signal(SIGABRT, SIG_DFL);
    ::alarm(most_seconds);
    run();
    ::_exit(0);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
  }
  return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace gallocy::sim
