// Timers: the program's POSIX timers (timer_create(2)), at the home. A timer is a timerfd, and one thread of the
// runtime sends what they give; so a timer may signal a thread on any node.
//
// Threads: any.
#pragma once

#include <signal.h>

#include <functional>
#include <map>
#include <mutex>

#include "personality/call.h"
#include "personality/descriptors.h"

namespace gallocy::personality {

class Timers {
 public:
  // To the thread with this id; 0: to the process.
  using Send = std::function<void(int guest_tid, siginfo_t& info)>;

  Timers(Descriptors& descriptors, Send send) : descriptors_(descriptors), send_(std::move(send)) {}

  // One of the timer_ calls. Negative: an error number.
  long call(const Call& call);
  // As execve does.
  void remove_all();

 private:
  struct Timer {
    int fd = -1;
    int signal = 0;  // 0: none
    int thread = 0;  // guest tid; 0: the process
    sigval value{};
    int overruns = 0;
  };
  long create(const Call& call);
  [[noreturn]] void run();

  Descriptors& descriptors_;
  const Send send_;
  std::mutex mu_;
  std::map<int, Timer> timers_;
  int epoll_ = -1, next_ = 0;
};

}  // namespace gallocy::personality
