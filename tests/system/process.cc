#include "process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace gallocy::testing {
namespace {

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (const auto& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

int memory_file(const std::string& content = {}) {
  const int fd = ::memfd_create("test", MFD_CLOEXEC);
  if (::write(fd, content.data(), content.size()) < 0) ::abort();
  ::lseek(fd, 0, SEEK_SET);
  ::fcntl(fd, F_SETFL, O_APPEND);  // lines of several threads and processes stay whole
  return fd;
}

std::vector<std::string> environment(const std::map<std::string, std::string>& changes) {
  std::vector<std::string> entries;
  for (char** entry = ::environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (changes.count(text.substr(0, text.find('='))) == 0) entries.push_back(text);
  }
  for (const auto& [name, value] : changes) entries.push_back(name + '=' + value);
  return entries;
}

}  // namespace

bool eventually(const std::function<bool()>& condition, milliseconds bound) {
  const auto deadline = std::chrono::steady_clock::now() + bound;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return condition();
    ::poll(nullptr, 0, 2);
  }
  return true;
}

Process::Process(const std::vector<std::string>& arguments) : Process(arguments, Options{}) {}

Process::Process(const std::vector<std::string>& arguments, const Options& options)
    : output_(memory_file()), error_(memory_file()), started_(std::chrono::steady_clock::now()) {
  const auto entries = environment(options.environment);
  const auto argument_pointers = pointers(arguments);
  const auto entry_pointers = pointers(entries);
  const int input = memory_file(options.input);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(input, STDIN_FILENO);
    ::dup2(options.output >= 0 ? options.output : output_, STDOUT_FILENO);
    ::dup2(error_, STDERR_FILENO);
    if (options.user != 0 && (::setgid(options.user) != 0 || ::setuid(options.user) != 0)) ::_exit(125);
    ::execvpe(argument_pointers[0], argument_pointers.data(), entry_pointers.data());
    ::_exit(125);
  }
  ::close(input);
}

Process::~Process() {
  if (!status_) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  ::close(output_);
  ::close(error_);
}

void Process::signal(int number) {
  if (!status_) ::kill(pid_, number);
}

int Process::wait(milliseconds bound) {
  const auto ended = [this] {
    int status = 0;
    if (status_ || ::waitpid(pid_, &status, WNOHANG) != pid_) return status_.has_value();
    status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    ended_ = std::chrono::steady_clock::now();
    return true;
  };
  return eventually(ended, bound) ? *status_ : -1;
}

milliseconds Process::lifetime() const { return std::chrono::duration_cast<milliseconds>(ended_ - started_); }

bool Process::await_output(const std::string& text, milliseconds bound) const {
  return eventually([&] { return output().find(text) != std::string::npos; }, bound);
}

std::string Process::text_of(int fd) {
  std::string text;
  char buffer[64 << 10];
  for (ssize_t got; (got = ::pread(fd, buffer, sizeof buffer, static_cast<off_t>(text.size()))) > 0;) {
    text.append(buffer, static_cast<std::size_t>(got));
  }
  return text;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::vector<pid_t> processes_with(const std::string& entry) {
  std::vector<pid_t> found;
  std::error_code error;
  for (const auto& folder : std::filesystem::directory_iterator("/proc", error)) {
    const auto name = folder.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(folder.path() / "environ", std::ios::binary);
    std::stringstream text;
    text << '\0' << file.rdbuf();
    if (text.str().find('\0' + entry + '\0') != std::string::npos) found.push_back(std::stoi(name));
  }
  return found;
}

bool alive(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  if (!std::getline(file, text)) return false;
  const auto close = text.rfind(')');
  return close != std::string::npos && text[close + 2] != 'Z' && text[close + 2] != 'X';
}

}  // namespace gallocy::testing
