#include "terminal.h"

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace gallocy::testing {

Terminal::Terminal(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& environment) {
  std::vector<char*> pointers;
  for (const auto& one : arguments) pointers.push_back(const_cast<char*>(one.c_str()));
  pointers.push_back(nullptr);
  winsize size{.ws_row = 24, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
  pid_ = ::forkpty(&master_, nullptr, nullptr, &size);
  if (pid_ == 0) {
    for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
    ::execvp(pointers[0], pointers.data());
    ::_exit(125);
  }
  ::fcntl(master_, F_SETFL, O_NONBLOCK);
  ::fcntl(master_, F_SETFD, FD_CLOEXEC);
}

Terminal::~Terminal() {
  ::close(master_);
  if (ended_) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Terminal::type(const std::string& keys) {
  if (::write(master_, keys.data(), keys.size()) != static_cast<ssize_t>(keys.size())) ::abort();
}

void Terminal::resize(unsigned short rows, unsigned short columns) {
  const winsize size{.ws_row = rows, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
  ::ioctl(master_, TIOCSWINSZ, &size);
}

void Terminal::read() {
  char buffer[4096];
  for (ssize_t got; (got = ::read(master_, buffer, sizeof buffer)) > 0;) {
    screen_.append(buffer, static_cast<std::size_t>(got));
  }
}

bool Terminal::await(const std::string& text, milliseconds bound) {
  return eventually(
      [&] {
        read();
        const auto at = screen_.find(text, seen_);
        if (at == std::string::npos) return false;
        seen_ = at + text.size();
        return true;
      },
      bound);
}

pid_t Terminal::foreground() const { return ::tcgetpgrp(master_); }

int Terminal::wait(milliseconds bound) {
  const auto ended = [&] {
    read();  // or it could not write its last words
    int status = 0;
    if (ended_ || ::waitpid(pid_, &status, WNOHANG) != pid_) return ended_;
    status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return ended_ = true;
  };
  eventually(ended, bound);
  return status_;
}

}  // namespace gallocy::testing
