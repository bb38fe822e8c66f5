// POSIX timers (timer_create(2)), at the home: a timer is a timerfd, and one thread of the runtime sends what they
// give. So a timer may signal a thread on any node.
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "personality/guest_memory.h"
#include "personality/process.h"

namespace gallocy::personality {
namespace {

constexpr std::size_t kMostTimers = 4096;

int timer_clock(long clock) {
  return clock == CLOCK_REALTIME || clock == CLOCK_BOOTTIME ? static_cast<int>(clock) : CLOCK_MONOTONIC;
}

}  // namespace

long Process::timer_call(const Call& call) {
  const auto at = [&](int i) { return static_cast<std::uint64_t>(call.arguments[i]); };
  if (call.number == SYS_timer_create) return create_timer(call);
  const std::lock_guard lock(timers_mu_);
  const auto found = timers_.find(static_cast<int>(call.arguments[0]));
  if (found == timers_.end()) return -EINVAL;
  Timer& timer = found->second;
  switch (call.number) {
    case SYS_timer_settime: {
      itimerspec wanted{}, before{};
      if (!copy_in(&wanted, at(2), sizeof wanted)) return -EFAULT;
      timer.overruns = 0;
      const int flags = (call.arguments[1] & TIMER_ABSTIME) != 0 ? TFD_TIMER_ABSTIME : 0;
      if (::timerfd_settime(timer.fd, flags, &wanted, &before) != 0) return -errno;
      return at(3) != 0 && !store(at(3), before) ? -EFAULT : 0;
    }
    case SYS_timer_gettime: {
      itimerspec now{};
      if (::timerfd_gettime(timer.fd, &now) != 0) return -errno;
      return store(at(1), now) ? 0 : -EFAULT;
    }
    case SYS_timer_getoverrun:
      return timer.overruns;
    case SYS_timer_delete:
      close_descriptor(timer.fd);
      timers_.erase(found);
      return 0;
    default:
      return -ENOSYS;
  }
}

long Process::create_timer(const Call& call) {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGALRM;
  const auto event_at = static_cast<std::uint64_t>(call.arguments[1]);
  if (event_at != 0 && !copy_in(&event, event_at, sizeof event)) return -EFAULT;
  const bool signals = event.sigev_notify == SIGEV_SIGNAL || event.sigev_notify == SIGEV_THREAD_ID;
  if (!signals && event.sigev_notify != SIGEV_NONE) return -EINVAL;
  const std::lock_guard lock(timers_mu_);
  if (timers_.size() >= kMostTimers) return -EAGAIN;
  if (timer_epoll_ < 0) {
    timer_epoll_ = ::fcntl(::epoll_create1(EPOLL_CLOEXEC), F_DUPFD_CLOEXEC, kFirstRuntimeDescriptor);
    keep_descriptor(timer_epoll_);
    start_runtime_thread([this] { run_timers(); });
  }
  const int low = ::timerfd_create(timer_clock(call.arguments[0]), TFD_CLOEXEC | TFD_NONBLOCK);
  if (low < 0) return -errno;
  Timer timer{.fd = ::fcntl(low, F_DUPFD_CLOEXEC, kFirstRuntimeDescriptor)};
  ::close(low);
  timer.signal = event.sigev_notify == SIGEV_NONE ? 0 : event.sigev_signo;
  timer.thread = event.sigev_notify == SIGEV_THREAD_ID ? event._sigev_un._tid : 0;
  const int id = next_timer_++;
  if (event_at == 0) event.sigev_value.sival_int = id;
  timer.value = event.sigev_value;
  if (timer.fd < 0 || !store(static_cast<std::uint64_t>(call.arguments[2]), id)) return -EFAULT;
  keep_descriptor(timer.fd);
  epoll_event interest{.events = EPOLLIN, .data = {.u64 = static_cast<std::uint64_t>(id)}};
  CHECK(::epoll_ctl(timer_epoll_, EPOLL_CTL_ADD, timer.fd, &interest) == 0, errno);
  timers_[id] = timer;
  return 0;
}

void Process::run_timers() {
  for (;;) {
    epoll_event event;
    if (::epoll_wait(timer_epoll_, &event, 1, -1) != 1) continue;
    siginfo_t info{};
    int thread = 0;
    {
      const std::lock_guard lock(timers_mu_);
      const auto found = timers_.find(static_cast<int>(event.data.u64));
      if (found == timers_.end()) continue;
      std::uint64_t count = 0;
      if (::read(found->second.fd, &count, sizeof count) != sizeof count) continue;
      found->second.overruns = static_cast<int>(std::min<std::uint64_t>(count - 1, 1 << 30));
      info.si_signo = found->second.signal;
      info.si_code = SI_TIMER;
      info.si_timerid = found->first;
      info.si_overrun = found->second.overruns;
      info.si_value = found->second.value;
      thread = found->second.thread;
    }
    if (info.si_signo == 0) continue;
    if (thread != 0) {
      (void)send_to_thread(thread, info.si_signo, info);
    } else {
      raw_system_call(SYS_rt_sigqueueinfo, home_pid_, info.si_signo, reinterpret_cast<long>(&info));
    }
  }
}

}  // namespace gallocy::personality
