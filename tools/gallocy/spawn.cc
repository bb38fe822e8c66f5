#include "spawn.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "unique_fd.h"

namespace gallocy::command {
namespace {

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (const auto& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

struct Prepared {
  const SpawnRequest& request;
  char* const* arguments;
  char* const* environment;
  pid_t parent;
};

enum class Step : int { kDirectory, kExecute };

struct Trouble {
  Step step{};
  int error = 0;
};

tl::unexpected<Failure> cannot_start(int error) {
  return fail_with(ErrorCode::kOsError, fmt::format("cannot start a process: {}", std::strerror(error)));
}

// Runs in the child, which borrows the parent's memory until exec: system calls only. Returns on failure.
Step become(const Prepared& prepared) {
  const auto& request = prepared.request;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != prepared.parent) ::_exit(0);  // it died before the line above
  if (request.group == ProcessGroup::kOwn) ::setpgid(0, 0);
  ::dup2(request.input, STDIN_FILENO);
  ::dup2(request.output, STDOUT_FILENO);
  ::dup2(request.error, STDERR_FILENO);
  for (const int fd : request.inherited) ::fcntl(fd, F_SETFD, 0);
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  ::sigaction(SIGPIPE, &standard, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (!request.directory.empty() && ::chdir(request.directory.c_str()) != 0) return Step::kDirectory;
  ::execve(request.path.c_str(), prepared.arguments, prepared.environment);
  return Step::kExecute;
}

bool is_file(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && !S_ISDIR(status.st_mode);
}

}  // namespace

Outcome<pid_t> spawn(const SpawnRequest& request) {
  const auto arguments = pointers(request.arguments);
  const auto environment = pointers(request.environment);
  const Prepared prepared{request, arguments.data(), environment.data(), ::getpid()};

  // Closed by exec, so that reading it tells whether exec has come about.
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return cannot_start(errno);
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);

  // posix_spawn cannot set the parent-death signal; vfork is as cheap. No signal may be handled in the child meanwhile.
  sigset_t all, before;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &before);
  const pid_t pid = ::vfork();
  if (pid == 0) {
    const Trouble trouble{become(prepared), errno};
    [[maybe_unused]] const auto told = ::write(ends[1], &trouble, sizeof trouble);
    ::_exit(kProgramNotFound);
  }
  const int fork_error = errno;
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return cannot_start(fork_error);

  write_end.reset();
  Trouble trouble;
  ssize_t got = 0;
  do {
    got = ::read(read_end.get(), &trouble, sizeof trouble);
  } while (got < 0 && errno == EINTR);
  if (got != sizeof trouble) return pid;
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (trouble.step == Step::kDirectory) {
    return fail_with(ErrorCode::kNotFound,
                     fmt::format("cannot enter directory {}: {}", request.directory, std::strerror(trouble.error)));
  }
  return fail_with(kProgramNotExecutable,
                   fmt::format("cannot execute {}: {}", request.path, std::strerror(trouble.error)));
}

Outcome<std::string> find_program(const std::string& name, const std::string& directory) {
  const auto located = [&](const std::string& path) {
    return directory.empty() || path.starts_with('/') ? path : directory + '/' + path;
  };
  std::vector<std::string> candidates;
  if (name.find('/') != std::string::npos) {
    candidates.push_back(name);
  } else {
    const char* path = std::getenv("PATH");
    std::string_view rest = path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path;
    while (!name.empty()) {
      const auto colon = rest.find(':');
      const auto folder = rest.substr(0, colon);
      candidates.push_back((folder.empty() ? "." : std::string(folder)) + '/' + name);
      if (colon == std::string_view::npos) break;
      rest.remove_prefix(colon + 1);
    }
  }
  std::string found;
  for (const auto& candidate : candidates) {
    const auto path = located(candidate);
    if (!is_file(path)) continue;
    if (::access(path.c_str(), X_OK) == 0) return candidate;
    if (found.empty()) found = candidate;
  }
  if (!found.empty()) {
    return fail_with(kProgramNotExecutable, fmt::format("cannot execute {}: Permission denied", found));
  }
  struct stat status {};
  if (candidates.size() == 1 && ::stat(located(name).c_str(), &status) == 0) {
    return fail_with(kProgramNotExecutable, fmt::format("cannot execute {}: it is a directory", name));
  }
  return fail_with(kProgramNotFound, fmt::format("program not found: {}", name));
}

std::vector<std::string> environment_with(std::span<const std::string> additions) {
  std::vector<std::string> environment;
  const auto name_of = [](std::string_view entry) { return entry.substr(0, entry.find('=')); };
  // The per-instance ones of a launch that this one runs inside of; settings (GALLOCY_MEMORY …) are inherited.
  constexpr std::string_view kOfALaunch[] = {
      "GALLOCY_NODE",      "GALLOCY_NODES",     "GALLOCY_LOCAL_NODES", "GALLOCY_LOCAL_INDEX", "GALLOCY_LAUNCHER",
      "GALLOCY_SECRET_FD", "GALLOCY_TRANSPORT", "GALLOCY_ENCRYPT",     "GALLOCY_LISTEN_HOST", "GALLOCY_JOIN_TIMEOUT"};
  const auto replaced = [&](std::string_view name) {
    for (const auto one : kOfALaunch) {
      if (one == name) return true;
    }
    for (const auto& addition : additions) {
      if (name_of(addition) == name) return true;
    }
    return false;
  };
  for (char** entry = ::environ; *entry != nullptr; ++entry) {
    if (!replaced(name_of(*entry))) environment.emplace_back(*entry);
  }
  environment.insert(environment.end(), additions.begin(), additions.end());
  return environment;
}

}  // namespace gallocy::command
