// Signals to the process that no thread of the home takes, and what else concerns all nodes.
//
// The kernel keeps such a signal pending in the home's process, since it does not know the threads of other nodes.
// There is no event to wait for: a signalfd would wake its reader for every fault and every system call that traps. So
// a thread of the home looks now and then.
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "personality/process.h"

namespace gallocy::personality {
namespace {

constexpr long kShortestPauseNs = 10'000'000, kLongestPauseNs = 160'000'000;

constexpr std::uint64_t bit(int number) { return std::uint64_t{1} << (number - 1); }

}  // namespace

// Made when the first thread of another node is.
void Process::watch_unclaimed() {
  std::uint64_t before = 0;
  for (long pause_ns = kShortestPauseNs;;) {
    const timespec pause{0, pause_ns};
    ::nanosleep(&pause, nullptr);
    send_visitors_back();
    std::uint64_t pending = 0;
    raw_system_call(SYS_rt_sigpending, reinterpret_cast<long>(&pending), 8);
    for (std::uint64_t left = pending; left != 0; left &= left - 1) hand_over(std::countr_zero(left) + 1);
    // What all threads block may stay pending for long.
    pause_ns = pending != 0 && pending == before ? std::min(pause_ns * 2, kLongestPauseNs) : kShortestPauseNs;
    before = pending;
  }
}

void Process::hand_over(int number) {
  if (taker_here(number) != 0) return;  // the kernel gives it to that one
  for (std::uint16_t n = 1; n < nodes_; ++n) {
    wire::GuestRequest request{.kind = wire::GuestRequestKind::kTaker, .words = {static_cast<std::uint64_t>(number)}};
    const long taker = questions_.ask(NodeId{n}, request);
    if (taker == 0) continue;
    const std::uint64_t set = bit(number);
    const timespec at_once{};
    siginfo_t info{};
    const long taken = raw_system_call(SYS_rt_sigtimedwait, reinterpret_cast<long>(&set), reinterpret_cast<long>(&info),
                                       reinterpret_cast<long>(&at_once), 8);
    if (taken != number) return;
    if (send_to_thread(static_cast<int>(taker), number, info) == 0) return;
    // It has ended meanwhile: pending again, for the next.
    raw_system_call(SYS_rt_sigqueueinfo, home_pid_, number, reinterpret_cast<long>(&info));
  }
}

// A thread of this node that does not block the signal; 0: none. On any thread, the poller too.
int Process::taker_here(int number) {
  const os::MutexLock lock(threads_mu_);
  const auto found =
      std::ranges::find_if(threads_, [&](const auto& entry) { return (entry.second->guest_mask & bit(number)) == 0; });
  return found != threads_.end() ? found->first : 0;
}

// SA_RESETHAND: the handler is good for one signal, of all nodes'.
GuestAction Process::take_action(int number) {
  if (!is_home()) {
    wire::GuestRequest request{.kind = wire::GuestRequestKind::kTakeAction,
                               .words = {static_cast<std::uint64_t>(number)}};
    std::vector<std::byte> answer;
    GuestAction taken;
    (void)questions_.ask(kHome, request, {}, &answer);
    if (answer.size() == sizeof taken) std::memcpy(&taken, answer.data(), sizeof taken);
    return taken;
  }
  GuestAction taken, left;
  {
    const os::MutexLock lock(actions_mu_);
    taken = left = actions_[number];
    if (!taken.has_handler() || (taken.flags & SA_RESETHAND) == 0) return taken;
    left.handler = reinterpret_cast<std::uint64_t>(SIG_DFL);
    actions_[number] = left;
  }
  for (std::uint16_t n = 1; n < nodes_; ++n) {
    wire::GuestRequest request{.kind = wire::GuestRequestKind::kAction, .words = {static_cast<std::uint64_t>(number)}};
    questions_.post(NodeId{n}, request, std::as_bytes(std::span(&left, 1)));
  }
  return taken;
}

// As by the default action of SIGTSTP and its kin. Threads of other nodes stop when they need the home.
void Process::stop_process() {
  if (is_home()) {
    ::kill(home_pid_, SIGSTOP);
    return;
  }
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kStop};
  questions_.post(kHome, request);
}

}  // namespace gallocy::personality
