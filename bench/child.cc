#include "child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>

extern char** environ;

namespace gallocy::bench {

using gallocy::ErrorCode;
using gallocy::fail;
using gallocy::Result;
using Clock = std::chrono::steady_clock;

namespace {

// Two pipes, for the child's standard output and error. The child gets the writing ends.
struct Pipes {
  std::array<int, 2> output{-1, -1}, errors{-1, -1};
  bool open() { return ::pipe2(output.data(), O_CLOEXEC) == 0 && ::pipe2(errors.data(), O_CLOEXEC) == 0; }
  void close_writing() { close(output[1]), close(errors[1]); }
  ~Pipes() { close_writing(), close(output[0]), close(errors[0]); }
  static void close(int& fd) {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
};

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> list;
  for (auto& word : words) list.push_back(word.data());
  list.push_back(nullptr);
  return list;
}

// In a process group of its own, so that a child that hangs can be ended with all that it started.
Result<pid_t> spawn(std::vector<std::string> command, const std::map<std::string, std::string>& settings,
                    const Pipes& pipes) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!settings.contains(std::string(text.substr(0, text.find('='))))) environment.emplace_back(text);
  }
  for (const auto& [name, value] : settings) environment.push_back(name + "=" + value);

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipes.output[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, pipes.errors[1], STDERR_FILENO);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, command[0].c_str(), &actions, &attributes, pointers(command).data(),
                                 pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0)
    return fail(ErrorCode::kOsError, fmt::format("cannot start {}: {}", command[0], std::strerror(error)));
  return pid;
}

// Reads both pipes to their ends; false if that takes longer than until `deadline`.
bool drain(Pipes& pipes, std::string& output, std::string& errors, Clock::time_point deadline) {
  std::array<pollfd, 2> sources{pollfd{pipes.output[0], POLLIN, 0}, pollfd{pipes.errors[0], POLLIN, 0}};
  while (sources[0].fd >= 0 || sources[1].fd >= 0) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0 || ::poll(sources.data(), sources.size(), static_cast<int>(left)) == 0) return false;
    for (std::size_t i = 0; i < sources.size(); ++i) {
      if (sources[i].fd < 0 || sources[i].revents == 0) continue;
      char text[4096];
      const auto got = ::read(sources[i].fd, text, sizeof text);
      if (got > 0) {
        (i == 0 ? output : errors).append(text, static_cast<std::size_t>(got));
      } else if (got == 0 || errno != EINTR) {
        sources[i].fd = -1;
      }
    }
  }
  return true;
}

std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  const auto start = text.rfind('\n');
  return start == std::string::npos ? text : text.substr(start + 1);
}

}  // namespace

std::optional<std::string> ChildOutput::value(const std::string& name) const {
  for (auto at = text.rfind(name + "="); at != std::string::npos; at = at == 0 ? at : text.rfind(name + "=", at - 1)) {
    if (at == 0 || std::isspace(static_cast<unsigned char>(text[at - 1])) != 0) {
      const auto start = at + name.size() + 1;
      return text.substr(start, text.find_first_of(" \n", start) - start);
    }
    if (at == 0) break;
  }
  return std::nullopt;
}

Result<double> ChildOutput::number(const std::string& name) const {
  const auto found = value(name);
  if (!found) return fail(ErrorCode::kProtocol, fmt::format("the output has no {}=", name));
  return std::strtod(found->c_str(), nullptr);
}

Result<ChildOutput> run_child(const std::vector<std::string>& command,
                              const std::map<std::string, std::string>& settings, std::chrono::seconds timeout) {
  Pipes pipes;
  if (!pipes.open()) return fail(ErrorCode::kOsError, fmt::format("pipe: {}", std::strerror(errno)));
  const auto start = Clock::now();
  auto pid = spawn(command, settings, pipes);
  if (!pid) return tl::unexpected(pid.error());
  pipes.close_writing();

  ChildOutput output;
  std::string errors;
  const bool ended = drain(pipes, output.text, errors, start + timeout);
  if (!ended) ::kill(-*pid, SIGKILL);
  int status = 0;
  while (::waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
  }
  output.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const auto what = fmt::format("{}", fmt::join(command, " "));
  if (!ended) return fail(ErrorCode::kTimeout, fmt::format("`{}` did not end in {} s", what, timeout.count()));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return output;
  const auto how =
      WIFEXITED(status) ? fmt::format("status {}", WEXITSTATUS(status)) : fmt::format("signal {}", WTERMSIG(status));
  return fail(ErrorCode::kOsError, fmt::format("`{}` ended with {}: {}", what, how, last_line(errors)));
}

}  // namespace gallocy::bench
