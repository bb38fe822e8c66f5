#include "personality/timers.h"

#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "personality/guest_entry.h"
#include "personality/guest_memory.h"

namespace gallocy::personality {
namespace {

constexpr std::size_t kMostTimers = 4096;

int timer_clock(long clock) {
  return clock == CLOCK_REALTIME || clock == CLOCK_BOOTTIME ? static_cast<int>(clock) : CLOCK_MONOTONIC;
}

}  // namespace

long Timers::call(const Call& call) {
  const auto at = [&](int i) { return argument(call, i); };
  if (call.number == SYS_timer_create) return create(call);
  const std::lock_guard lock(mu_);
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
      descriptors_.close(timer.fd);
      timers_.erase(found);
      return 0;
    default:
      return -ENOSYS;
  }
}

long Timers::create(const Call& call) {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGALRM;
  const std::uint64_t event_at = argument(call, 1);
  if (event_at != 0 && !copy_in(&event, event_at, sizeof event)) return -EFAULT;
  const bool signals = event.sigev_notify == SIGEV_SIGNAL || event.sigev_notify == SIGEV_THREAD_ID;
  if (!signals && event.sigev_notify != SIGEV_NONE) return -EINVAL;
  const std::lock_guard lock(mu_);
  if (timers_.size() >= kMostTimers) return -EAGAIN;
  if (epoll_ < 0) {
    epoll_ = descriptors_.raise(::epoll_create1(EPOLL_CLOEXEC));
    if (epoll_ < 0) return -EAGAIN;
    start_runtime_thread([this] { run(); });
  }
  Timer timer{.fd = descriptors_.raise(::timerfd_create(timer_clock(call.arguments[0]), TFD_CLOEXEC | TFD_NONBLOCK))};
  if (timer.fd < 0) return -EAGAIN;
  timer.signal = event.sigev_notify == SIGEV_NONE ? 0 : event.sigev_signo;
  timer.thread = event.sigev_notify == SIGEV_THREAD_ID ? event._sigev_un._tid : 0;
  const int id = next_++;
  if (event_at == 0) event.sigev_value.sival_int = id;
  timer.value = event.sigev_value;
  if (!store(argument(call, 2), id)) {
    descriptors_.close(timer.fd);
    return -EFAULT;
  }
  epoll_event interest{.events = EPOLLIN, .data = {.u64 = static_cast<std::uint64_t>(id)}};
  CHECK(::epoll_ctl(epoll_, EPOLL_CTL_ADD, timer.fd, &interest) == 0, errno);
  timers_[id] = timer;
  return 0;
}

void Timers::remove_all() {
  const std::lock_guard lock(mu_);
  for (const auto& [id, timer] : timers_) descriptors_.close(timer.fd);
  timers_.clear();
}

void Timers::run() {
  for (;;) {
    epoll_event event;
    if (::epoll_wait(epoll_, &event, 1, -1) != 1) continue;
    siginfo_t info{};
    int thread = 0;
    {
      const std::lock_guard lock(mu_);
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
    if (info.si_signo != 0) send_(thread, info);
  }
}

}  // namespace gallocy::personality
