#include "children.h"

#include <fmt/format.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

namespace gallocy::command {

void Children::reap() {
  for (;;) {
    // The number of a process and of its group cannot be used again before it is waited for: so the group is killed
    // first.
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
    auto found = children_.extract(info.si_pid);
    if (!found.empty() && found.mapped().ending == Ending::kWithGroup) ::kill(-info.si_pid, SIGKILL);
    int status = 0;
    if (::waitpid(info.si_pid, &status, 0) == info.si_pid && !found.empty()) found.mapped().ended(status);
  }
}

std::string describe_end(int wait_status) {
  if (WIFEXITED(wait_status)) return fmt::format("exited with status {}", WEXITSTATUS(wait_status));
  const int signal = WTERMSIG(wait_status);
  const char* name = ::sigabbrev_np(signal);
  return fmt::format("was killed by signal {} ({}{}){}", signal, name == nullptr ? "" : "SIG",
                     name == nullptr ? "real-time signal" : name,
                     WCOREDUMP(wait_status) ? " and left a core file" : "");
}

int shell_status(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

}  // namespace gallocy::command
