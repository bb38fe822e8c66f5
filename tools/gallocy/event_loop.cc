#include "event_loop.h"

#include <algorithm>
#include <cerrno>

#include "base/check.h"

namespace gallocy::command {

EventLoop::EventLoop() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) { CHECK(epoll_.get() >= 0, errno); }

bool EventLoop::watch(int fd, std::uint32_t events, Callback callback) {
  epoll_event interest{.events = events, .data = {.fd = fd}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &interest) != 0) {
    CHECK(errno == EPERM, errno, fd);
    return false;
  }
  watches_[fd] = std::make_shared<Callback>(std::move(callback));
  return true;
}

void EventLoop::change(int fd, std::uint32_t events) {
  epoll_event interest{.events = events, .data = {.fd = fd}};
  CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &interest) == 0, errno, fd);
}

void EventLoop::forget(int fd) {
  if (watches_.erase(fd) > 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

EventLoop::Timer EventLoop::at(Clock::time_point when, std::function<void()> callback) {
  timers_.emplace(Due{when, ++last_timer_}, std::move(callback));
  return last_timer_;
}

void EventLoop::cancel(Timer timer) {
  const auto found =
      std::find_if(timers_.begin(), timers_.end(), [&](const auto& due) { return due.first.id == timer; });
  if (found != timers_.end()) timers_.erase(found);
}

int EventLoop::next_timeout_ms() const {
  if (timers_.empty()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(timers_.begin()->first.when - Clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
}

void EventLoop::fire_timers() {
  const auto now = Clock::now();
  while (!timers_.empty() && timers_.begin()->first.when <= now) {
    auto due = timers_.extract(timers_.begin());
    due.mapped()();
  }
}

void EventLoop::run(const std::function<void()>& each_round) {
  stopped_ = false;
  for (;;) {
    if (each_round) each_round();
    if (stopped_) return;
    epoll_event ready[128];
    const int count = ::epoll_wait(epoll_.get(), ready, 128, next_timeout_ms());
    CHECK(count >= 0 || errno == EINTR, errno);
    for (int i = 0; i < count; ++i) {
      const auto found = watches_.find(ready[i].data.fd);
      if (found == watches_.end()) continue;
      const auto callback = found->second;
      (*callback)(ready[i].events);
    }
    fire_timers();
  }
}

}  // namespace gallocy::command
