#include "personality/timers.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <time.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <vector>

namespace gallocy::personality {
namespace {

using namespace std::chrono_literals;

long number(const void* address) { return reinterpret_cast<long>(address); }

struct Sent {
  int guest_tid = 0;
  siginfo_t info{};
};

// Never destroyed: the timers' thread waits for more.
class World {
 public:
  static World& make() {
    static auto& worlds = *new std::vector<World*>;
    return *worlds.emplace_back(new World);
  }

  long create(const sigevent& event, int& id) {
    return timers_.call({.number = SYS_timer_create, .arguments = {CLOCK_MONOTONIC, number(&event), number(&id)}});
  }
  long set(int id, const itimerspec& time) {
    return timers_.call({.number = SYS_timer_settime, .arguments = {id, 0, number(&time), 0}});
  }
  long get(int id, itimerspec& time) {
    return timers_.call({.number = SYS_timer_gettime, .arguments = {id, number(&time)}});
  }
  Timers& timers() { return timers_; }
  std::vector<Sent> wait_for(std::size_t count) {
    std::unique_lock lock(mu_);
    changed_.wait_for(lock, 60s, [&] { return sent_.size() >= count; });
    return sent_;
  }

 private:
  Descriptors descriptors_;
  std::mutex mu_;
  std::condition_variable changed_;
  std::vector<Sent> sent_;
  Timers timers_{descriptors_, [this](int guest_tid, siginfo_t& info) {
                   const std::lock_guard lock(mu_);
                   sent_.push_back({guest_tid, info});
                   changed_.notify_all();
                 }};
};

constexpr itimerspec kSoon{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 1'000'000}};
constexpr itimerspec kInAnHour{.it_interval = {}, .it_value = {.tv_sec = 3600, .tv_nsec = 0}};

TEST(Timers, a_thread_or_the_process_gets_the_signal_that_was_asked_for) {
  World& world = World::make();
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = SIGUSR1;
  event.sigev_value.sival_int = 77;
  event._sigev_un._tid = 4711;
  int to_thread = -1, to_process = -1;
  ASSERT_EQ(world.create(event, to_thread), 0);
  ASSERT_EQ(world.set(to_thread, kSoon), 0);
  const Sent first = world.wait_for(1).at(0);
  EXPECT_EQ(first.guest_tid, 4711);
  EXPECT_EQ(first.info.si_signo, SIGUSR1);
  EXPECT_EQ(first.info.si_code, SI_TIMER);
  EXPECT_EQ(first.info.si_timerid, to_thread);
  EXPECT_EQ(first.info.si_value.sival_int, 77);
  event.sigev_notify = SIGEV_SIGNAL;
  ASSERT_EQ(world.create(event, to_process), 0);
  EXPECT_NE(to_process, to_thread);
  ASSERT_EQ(world.set(to_process, kSoon), 0);
  EXPECT_EQ(world.wait_for(2).at(1).guest_tid, 0);
}

TEST(Timers, those_that_are_removed_are_no_more) {
  World& world = World::make();
  sigevent event{};
  event.sigev_notify = SIGEV_NONE;
  const std::vector<int> before = open_descriptors();
  int deleted = -1, removed = -1;
  ASSERT_EQ(world.create(event, deleted), 0);
  ASSERT_EQ(world.create(event, removed), 0);
  itimerspec left{};
  for (const int id : {deleted, removed}) {
    ASSERT_EQ(world.set(id, kInAnHour), 0);
    ASSERT_EQ(world.get(id, left), 0);
    EXPECT_GT(left.it_value.tv_sec, 3000);
  }
  EXPECT_EQ(world.timers().call({.number = SYS_timer_delete, .arguments = {deleted}}), 0);
  EXPECT_EQ(world.get(deleted, left), -EINVAL);
  EXPECT_EQ(world.get(removed, left), 0);
  world.timers().remove_all();
  EXPECT_EQ(world.get(removed, left), -EINVAL);
  std::vector<int> programs = open_descriptors();
  std::erase_if(programs, [](int fd) { return fd >= kFirstRuntimeDescriptor; });
  EXPECT_EQ(programs, before) << "the timers' own take none of the program's numbers";
}

TEST(Timers, nonsense_is_refused) {
  World& world = World::make();
  sigevent event{};
  event.sigev_notify = 1000;
  int id = -1;
  EXPECT_EQ(world.create(event, id), -EINVAL);
  EXPECT_EQ(world.timers().call({.number = SYS_timer_getoverrun, .arguments = {12345}}), -EINVAL);
}

}  // namespace
}  // namespace gallocy::personality
