#include "signals.h"

#include <cerrno>

#include "base/check.h"

namespace gallocy::command {

Signals::Signals(EventLoop& loop, std::function<void(const signalfd_siginfo&)> received) : loop_(loop) {
  sigset_t wanted;
  ::sigemptyset(&wanted);
  for (const int signal : {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT}) {
    ::sigaddset(&wanted, signal);
  }
  ::sigprocmask(SIG_BLOCK, &wanted, &before_);
  ::signal(SIGPIPE, SIG_IGN);
  fd_.reset(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
  CHECK(fd_, errno);
  loop_.watch(fd_.get(), EPOLLIN, [this, received = std::move(received)](std::uint32_t) {
    signalfd_siginfo info;
    while (::read(fd_.get(), &info, sizeof info) == sizeof info) received(info);
  });
}

Signals::~Signals() {
  loop_.forget(fd_.get());
  ::sigprocmask(SIG_SETMASK, &before_, nullptr);
}

}  // namespace gallocy::command
