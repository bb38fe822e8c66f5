// The signals of this process as events: SIGCHLD, those that are passed on to the nodes, and SIGPIPE ignored.
#pragma once

#include <signal.h>
#include <sys/signalfd.h>

#include <functional>

#include "event_loop.h"
#include "unique_fd.h"

namespace gallocy::command {

class Signals {
 public:
  Signals(EventLoop& loop, std::function<void(const signalfd_siginfo&)> received);
  ~Signals();

 private:
  EventLoop& loop_;
  sigset_t before_;
  UniqueFd fd_;
};

}  // namespace gallocy::command
