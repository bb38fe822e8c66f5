// A small epoll loop: descriptors with a callback each, and timers. One thread.
//
// A callback may add and remove watches, its own too. It may be called once without cause when a descriptor number was
// closed and reused within one round: read and write without blocking.
#pragma once

#include <sys/epoll.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>

#include "unique_fd.h"

namespace gallocy::command {

class EventLoop {
 public:
  using Clock = std::chrono::steady_clock;
  using Callback = std::function<void(std::uint32_t events)>;
  using Timer = std::uint64_t;

  EventLoop();

  // False: the descriptor is a plain file, which is always ready and cannot be watched.
  bool watch(int fd, std::uint32_t events, Callback callback);
  void change(int fd, std::uint32_t events);
  void forget(int fd);  // before the descriptor is closed

  Timer at(Clock::time_point when, std::function<void()> callback);
  Timer after(std::chrono::milliseconds delay, std::function<void()> callback) {
    return at(Clock::now() + delay, std::move(callback));
  }
  void cancel(Timer timer);

  // Runs until stop(). `each_round` is called before every wait.
  void run(const std::function<void()>& each_round = {});
  void stop() { stopped_ = true; }

 private:
  int next_timeout_ms() const;
  void fire_timers();

  struct Due {
    Clock::time_point when;
    Timer id;
    auto operator<=>(const Due&) const = default;
  };
  UniqueFd epoll_;
  std::unordered_map<int, std::shared_ptr<Callback>> watches_;  // shared: a callback may forget itself while it runs
  std::map<Due, std::function<void()>> timers_;
  Timer last_timer_ = 0;
  bool stopped_ = false;
};

}  // namespace gallocy::command
