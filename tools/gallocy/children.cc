#include "children.h"

#include <fmt/format.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>

namespace gallocy::command {

void Children::reap() {
  for (;;) {
    // The number of a process and of its group cannot be used again before it is waited for: so the group is killed
    // first.
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
    if (info.si_code == CLD_STOPPED) {
      note_stop(info.si_pid);
      continue;
    }
    auto found = children_.extract(info.si_pid);
    if (!found.empty() && found.mapped().ending == Ending::kWithGroup) ::kill(-info.si_pid, SIGKILL);
    int status = 0;
    if (::waitpid(info.si_pid, &status, 0) == info.si_pid && !found.empty()) found.mapped().ended(status);
  }
}

void Children::note_stop(pid_t pid) {
  siginfo_t info{};
  if (::waitid(P_PID, static_cast<id_t>(pid), &info, WSTOPPED | WNOHANG) != 0 || info.si_pid == 0) return;
  const auto found = children_.find(pid);
  if (found != children_.end() && found->second.stopped) found->second.stopped();
}

std::vector<pid_t> descendants_of(pid_t pid) {
  std::vector<pid_t> found;
  std::error_code gone;
  for (const auto& thread : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid), gone)) {
    std::ifstream children(thread.path() / "children");
    for (pid_t child = 0; children >> child;) {
      found.push_back(child);
      const auto more = descendants_of(child);
      found.insert(found.end(), more.begin(), more.end());
    }
  }
  return found;
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
