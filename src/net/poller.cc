#include "net/poller.h"

#include <immintrin.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <thread>

#include "base/check.h"
#include "os/clock.h"

namespace gallocy::net {
namespace {

using std::chrono::microseconds;

// While spinning, the sockets of at most this many peers are tried one by one; one epoll_wait costs about as much as a
// receive that finds nothing.
constexpr std::size_t kDirectPeers = 2;
// What a turn does not look at (the end of a shm peer; for many sockets, those that epoll does not name) is looked at
// every so many turns.
constexpr unsigned kFullTurns = 64;
constexpr unsigned kClockTurns = 8;
// A claim that meets the loop thread in the middle of a delivery spins about this long before it sleeps.
constexpr int kClaimSpins = 200;
// How long the loop thread waits for the end of a release before it looks whether the role was claimed again.
constexpr std::int64_t kReleaseNs = 100'000;

constexpr std::int64_t ns(microseconds t) { return std::chrono::nanoseconds(t).count(); }

// The address of this names the calling thread. Page faults are answered in signal handlers, so its memory must be
// there without an allocation at first use.
[[gnu::tls_model("initial-exec")]] thread_local char this_thread;

// In inner_, `tag` is the Link, or null for the doorbell; in outer_ it is the descriptor.
void add_to_epoll(int epoll, int fd, void* tag) {
  epoll_event event{.events = EPOLLIN, .data = {.ptr = tag}};
  CHECK(::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, errno);
}

int wait_for_events(int epoll, std::span<epoll_event> events, std::int64_t timeout_ns) {
  const std::int64_t bounded = std::max<std::int64_t>(0, timeout_ns);
  const timespec timeout{bounded / 1'000'000'000, bounded % 1'000'000'000};
  const int count = ::epoll_pwait2(epoll, events.data(), static_cast<int>(events.size()), &timeout, nullptr);
  CHECK(count >= 0 || errno == EINTR, errno);
  return std::max(0, count);
}

}  // namespace

Poller::Poller(LinkKind links, microseconds spin, microseconds loop_spin)
    : spin_ns_(ns(spin)),
      loop_spin_ns_(ns(loop_spin)),
      is_shm_(links == LinkKind::kShm),
      inner_(::epoll_create1(EPOLL_CLOEXEC)),
      outer_(::epoll_create1(EPOLL_CLOEXEC)),
      wake_event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      wake_timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
  CHECK(inner_ && outer_ && wake_event_ && wake_timer_, errno);
  add_to_epoll(outer_.get(), inner_.get(), &inner_);
  add_to_epoll(outer_.get(), wake_event_.get(), &wake_event_);
  add_to_epoll(outer_.get(), wake_timer_.get(), &wake_timer_);
  if (!is_shm_) return;
  doorbell_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  CHECK(doorbell_, errno);
  add_to_epoll(inner_.get(), doorbell_.get(), nullptr);
}

void Poller::add(Link& link) {
  os::MutexLock lock(role_mu_);
  take_in(link);
}

void Poller::take_in(Link& link) {
  link.enter_epoll();
  live_.push_back(&link);
  polls_directly_ = is_shm_ || live_.size() <= kDirectPeers;
}

void Poller::add_later(Link& link) {
  {
    os::MutexLock lock(newcomers_mu_);
    newcomers_.push_back(&link);
    has_newcomers_ = true;
  }
  wake();
}

void Poller::adopt(FrameSink& sink) {
  std::vector<Link*> newcomers;
  {
    os::MutexLock lock(newcomers_mu_);
    newcomers.swap(newcomers_);
    has_newcomers_ = false;
  }
  for (Link* link : newcomers) {
    take_in(*link);
    sink.peer_up(link->peer());
  }
}

bool Poller::is_poller() const { return poller_.load(std::memory_order_relaxed) == &this_thread; }

void Poller::check_role() const { CHECK(is_poller()); }

Caller Poller::caller() const {
  const bool is_loop = loop_.load(std::memory_order_relaxed) == &this_thread;
  return is_poller() || is_loop ? Caller::kPoller : Caller::kOther;
}

Gather Poller::gather() const { return is_poller() && more_follows_ ? Gather::kYes : Gather::kNo; }

// ---- the role

void Poller::take_role() {
  poller_.store(&this_thread, std::memory_order_relaxed);
  awake();
}

void Poller::give_role() { poller_.store(nullptr, std::memory_order_relaxed); }

// Adding the interest looks at the links again, so that nothing that came before is missed.
void Poller::watch_links(bool wanted) {
  if (wanted == loop_watches_) return;
  loop_watches_ = wanted;
  epoll_event event{.events = wanted ? std::uint32_t{EPOLLIN} : 0u, .data = {.ptr = &inner_}};
  CHECK(::epoll_ctl(outer_.get(), EPOLL_CTL_MOD, inner_.get(), &event) == 0, errno);
}

bool Poller::may_sleep() {
  return std::ranges::all_of(live_, [](Link* link) { return link->before_sleep(); });
}

void Poller::awake() {
  bool rung = false;
  for (Link* link : live_) rung |= link->after_sleep();
  eventfd_t rings;
  if (rung) ::eventfd_read(doorbell_.get(), &rings);
}

// ---- receiving

bool Poller::deliver(FrameSink& sink) {
  if (has_newcomers_.load(std::memory_order_relaxed)) [[unlikely]]
    adopt(sink);
  if (++turn_ % kFullTurns == 0) {
    const bool any = deliver_from_ready(sink, 0);
    return deliver_from_all(sink) || any;
  }
  return polls_directly_ ? deliver_from_all(sink) : deliver_from_ready(sink, 0);
}

bool Poller::deliver_from_all(FrameSink& sink) {
  bool any = false;
  for (Link* link : live_) any |= link->receive(sink);
  return after_delivery(any);
}

bool Poller::deliver_from_ready(FrameSink& sink, std::int64_t timeout_ns) {
  std::array<epoll_event, 64> events;
  const int count = wait_for_events(inner_.get(), events, timeout_ns);
  bool any = false;
  for (const epoll_event& event : std::span(events).first(static_cast<std::size_t>(count))) {
    if (auto* link = static_cast<Link*>(event.data.ptr)) {
      link->on_event();
      any |= link->receive(sink);
    } else {
      eventfd_t rings;
      ::eventfd_read(doorbell_.get(), &rings);
    }
  }
  return after_delivery(any);
}

bool Poller::after_delivery(bool any) {
  if (!any) return false;
  for (Link* link : live_) link->flush();  // answers that were gathered
  std::erase_if(live_, [](const Link* link) { return link->over(); });
  last_frame_ns_ = os::monotonic_ns();
  return true;
}

bool Poller::spin(FrameSink& sink, std::int64_t until_ns, bool is_loop) {
  // No sched_yield() here: on a core that a program thread shares it gives that a whole time slice (milliseconds),
  // while a thread that sleeps after its bounded spin preempts it when a frame wakes it.
  for (unsigned turn = 1;; ++turn) {
    if (deliver(sink)) return true;
    if (is_loop && loop_must_stop()) return false;
    if (turn % kClockTurns == 1 && os::monotonic_ns() >= until_ns) return false;
    _mm_pause();
  }
}

// ---- the loop thread

void Poller::serve(FrameSink& sink, microseconds timeout) {
  loop_.store(&this_thread, std::memory_order_relaxed);
  const std::int64_t deadline = os::monotonic_ns() + ns(timeout);
  // A short timeout is a timer, mostly the end of a page's minimum hold: the core is left to the thread that the page
  // is held for.
  const std::int64_t spin_until = timeout.count() > 0 && ns(timeout) < loop_spin_ns_ ? 0 : deadline;
  bool woken = false;  // by frames
  while (!wake_.load(std::memory_order_relaxed) || !wake_.exchange(false)) {
    if (serve_once(sink, spin_until, woken)) return;
    const std::int64_t left = deadline - os::monotonic_ns();
    if (left <= 0) return;
    woken = sleep_on_outer(left);
  }
}

// Returns whether there was anything. If not, the loop thread may sleep.
bool Poller::serve_once(FrameSink& sink, std::int64_t spin_until_ns, bool woken) {
  // The holder is a claimer. It may be about to release the role, or, if frames have woken this thread, about to switch
  // the interest off, and on this core: let it. (sched_yield() would give it a whole time slice, and too short a sleep
  // none.)
  while (!role_mu_.try_lock()) {
    if (claimed_.load(std::memory_order_relaxed) && !woken) return false;
    if (role_mu_.try_lock_until(os::monotonic_ns() + kReleaseNs)) break;
    woken = false;
  }
  take_role();
  bool any = false;
  if (woken && !loop_must_stop()) any = deliver_from_ready(sink, 0);
  while (!any && !loop_must_stop()) {
    any = spin(sink, std::min(spin_until_ns, last_frame_ns_ + loop_spin_ns_), true);
    if (!any && may_sleep()) break;
  }
  // A claimer is about to switch the interest off; until then arriving frames would keep us from sleeping.
  watch_links(!claimed_.load(std::memory_order_relaxed));
  give_role();
  role_mu_.unlock();
  return any;
}

// Returns whether the links are the reason of the end.
bool Poller::sleep_on_outer(std::int64_t timeout_ns) {
  std::array<epoll_event, 3> events;
  const int count = wait_for_events(outer_.get(), events, timeout_ns);
  bool links = false;
  for (const epoll_event& event : std::span(events).first(static_cast<std::size_t>(count))) {
    std::uint64_t times;
    if (event.data.ptr == &inner_) {
      links = true;
    } else if (event.data.ptr == &wake_event_) {
      ::eventfd_read(wake_event_.get(), &times);
    } else if (::read(wake_timer_.get(), &times, sizeof times) == sizeof times) {
      wake_.store(true);
    }
  }
  return links;
}

// A timer, because the thread that says this often goes on on the loop thread's core.
void Poller::wake_at(std::int64_t ns) {
  const std::int64_t at = std::max<std::int64_t>(ns, 1);  // 0 would switch the timer off
  const itimerspec timer{.it_interval = {}, .it_value = {at / 1'000'000'000, at % 1'000'000'000}};
  CHECK(::timerfd_settime(wake_timer_.get(), TFD_TIMER_ABSTIME, &timer, nullptr) == 0, errno);
}

void Poller::wake() {
  wake_.store(true);
  ::eventfd_write(wake_event_.get(), 1);
}

// ---- a thread that waits for its answer

bool Poller::try_claim() {
  CHECK(!is_poller());
  if (claimed_.exchange(true, std::memory_order_acquire)) return false;
  for (int i = 0; !role_mu_.try_lock(); ++i) {
    if (i == kClaimSpins) {
      role_mu_.lock();
      break;
    }
    _mm_pause();
  }
  take_role();
  watch_links(false);
  claimed_at_ns_ = os::monotonic_ns();
  return true;
}

bool Poller::poll(FrameSink& sink, microseconds timeout) {
  check_role();
  if (deliver(sink)) return true;
  if (timeout.count() <= 0) return false;
  const std::int64_t deadline = os::monotonic_ns() + ns(timeout);
  const std::int64_t spin_until = std::max(last_frame_ns_, claimed_at_ns_) + spin_ns_;
  if (spin(sink, std::min(deadline, spin_until), false)) return true;
  for (;;) {
    const std::int64_t left = deadline - os::monotonic_ns();
    const bool any = deliver_from_ready(sink, may_sleep() ? left : 0);
    awake();
    if (deliver_from_all(sink) || any) return true;
    if (left <= 0) return false;
  }
}

void Poller::release() {
  check_role();
  claimed_.store(false, std::memory_order_release);
  // The loop thread may be asleep: from here on arriving frames wake it, and for those that came before it is woken. It
  // sees claimed_ false when it wakes, and waits for the lock.
  watch_links(true);
  if (!may_sleep()) ::eventfd_write(wake_event_.get(), 1);
  give_role();
  role_mu_.unlock();
}

// ---- the end

void Poller::close(std::chrono::milliseconds timeout) {
  CHECK(!is_poller());
  while (claimed_.exchange(true, std::memory_order_acquire)) std::this_thread::yield();
  role_mu_.lock();
  const std::int64_t deadline = os::monotonic_ns() + ns(timeout);
  const auto is_done = [](Link* link) {
    link->flush();
    return !link->has_output() && link->delivered();
  };
  while (!std::ranges::all_of(live_, is_done) && os::monotonic_ns() < deadline)
    std::this_thread::sleep_for(microseconds(50));
  for (Link* link : live_) link->close_quietly();
  live_.clear();
  claimed_.store(false, std::memory_order_release);
  role_mu_.unlock();
}

}  // namespace gallocy::net
