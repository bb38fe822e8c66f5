// futex(2) for the threads of all nodes. The home keeps who sleeps where.
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "os/clock.h"
#include "personality/guest_memory.h"
#include "personality/process.h"

namespace gallocy::personality {
namespace {

enum Operation : std::uint64_t { kEnlist, kTakeOut, kWakeUp, kRequeue, kWakeAndRequeue };

// A sleeper first looks for its wake-up itself for this long: about what a wake-up by the scheduler costs.
constexpr std::int64_t kSpinNs = 30'000;

std::optional<std::int64_t> deadline(std::uint64_t at, bool absolute, bool realtime) {
  if (at == 0) return os::kNoDeadline;
  const auto time = load<timespec>(at);
  if (!time || time->tv_nsec < 0 || time->tv_nsec >= 1'000'000'000 || time->tv_sec < 0) return std::nullopt;
  if (time->tv_sec > 1'000'000'000'000) return os::kNoDeadline;
  const std::int64_t value = std::min<std::int64_t>(time->tv_sec, 9'000'000'000) * 1'000'000'000 + time->tv_nsec;
  if (!absolute) return os::monotonic_ns() + value;
  if (!realtime) return value - clock_offset();
  timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  return os::monotonic_ns() + value - (now.tv_sec * 1'000'000'000 + now.tv_nsec);
}

// At word `at`: what FUTEX_WAKE_OP does (futex(2)); the old value. Atomic, because the page is here for writing while
// the instruction runs.
std::optional<std::uint32_t> apply_operation(std::uint64_t at, std::uint32_t encoded) {
  if (!load<std::uint32_t>(at)) return std::nullopt;
  auto& word = *reinterpret_cast<std::atomic<std::uint32_t>*>(at);
  std::uint32_t argument = encoded >> 12 & 0xfff;
  if ((encoded >> 28 & 8) != 0) argument = 1u << argument;
  switch (encoded >> 28 & 7) {
    case FUTEX_OP_SET:
      return word.exchange(argument);
    case FUTEX_OP_ADD:
      return word.fetch_add(argument);
    case FUTEX_OP_OR:
      return word.fetch_or(argument);
    case FUTEX_OP_ANDN:
      return word.fetch_and(~argument);
    case FUTEX_OP_XOR:
      return word.fetch_xor(argument);
    default:
      return std::nullopt;
  }
}

bool compare(std::uint32_t old, std::uint32_t encoded) {
  const auto a = static_cast<std::int32_t>(old), b = static_cast<std::int32_t>(encoded & 0xfff);
  switch (encoded >> 24 & 0xf) {
    case FUTEX_OP_CMP_EQ:
      return a == b;
    case FUTEX_OP_CMP_NE:
      return a != b;
    case FUTEX_OP_CMP_LT:
      return a < b;
    case FUTEX_OP_CMP_LE:
      return a <= b;
    case FUTEX_OP_CMP_GT:
      return a > b;
    case FUTEX_OP_CMP_GE:
      return a >= b;
    default:
      return false;
  }
}

}  // namespace

// What forked children and other processes may have a part in is the kernel's, on one node: there memory is ordinary.
static bool may_be_between_processes(int operation) {
  switch (operation & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
    case FUTEX_WAIT_BITSET:
    case FUTEX_WAKE:
    case FUTEX_WAKE_BITSET:
    case FUTEX_REQUEUE:
    case FUTEX_CMP_REQUEUE:
    case FUTEX_WAKE_OP:
      return true;
    default:
      return false;  // those with owners, whose threads only the runtime knows
  }
}

static bool has_second_word(int operation) {
  switch (operation & FUTEX_CMD_MASK) {
    case FUTEX_REQUEUE:
    case FUTEX_CMP_REQUEUE:
    case FUTEX_WAKE_OP:
      return true;
    default:
      return false;
  }
}

// Of one node all memory is the kernel's, of several what is common.
bool Process::is_kernels_futex(const Call& call) const {
  const int operation = static_cast<int>(call.arguments[1]);
  if ((operation & FUTEX_PRIVATE_FLAG) != 0 || !may_be_between_processes(operation)) return false;
  if (nodes_ == 1) return true;
  return is_home() && limits_.is_common(argument(call, 0)) &&
         (!has_second_word(operation) || limits_.is_common(argument(call, 4)));
}

long Process::futex_in_kernel(GuestThread& thread, const Call& call) {
  const long* const a = call.arguments;
  const bool waits = (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT || (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
  if (!waits || a[3] == 0) return interruptible_system_call(thread, SYS_futex, a[0], a[1], a[2], a[3], a[4], a[5]);
  const auto timeout = load<timespec>(argument(call, 3));  // it may be on another node
  if (!timeout) return -EFAULT;
  return interruptible_system_call(thread, SYS_futex, a[0], a[1], a[2], reinterpret_cast<long>(&*timeout), a[4], a[5]);
}

long Process::futex(GuestThread& thread, const Call& call) {
  const auto address = static_cast<std::uint64_t>(call.arguments[0]);
  const int operation = static_cast<int>(call.arguments[1]);
  const auto value = static_cast<std::uint32_t>(call.arguments[2]);
  const auto other = static_cast<std::uint64_t>(call.arguments[4]);
  const auto last = static_cast<std::uint32_t>(call.arguments[5]);
  const auto timeout = static_cast<std::uint64_t>(call.arguments[3]);
  const bool realtime = (operation & FUTEX_CLOCK_REALTIME) != 0;
  if (address % 4 != 0) return -EINVAL;
  if (is_kernels_futex(call)) return futex_in_kernel(thread, call);
  if (!is_home() && (limits_.is_common(address) || limits_.is_common(other))) return send_home(thread, call);
  switch (operation & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
    case FUTEX_WAIT_BITSET: {
      const bool with_bits = (operation & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
      const auto until = deadline(timeout, with_bits, realtime);
      if (!until || (with_bits && last == 0)) return -EINVAL;
      return futex_wait(thread, address, value, with_bits ? last : FUTEX_BITSET_MATCH_ANY, *until);
    }
    case FUTEX_WAKE:
    case FUTEX_WAKE_BITSET: {
      const bool with_bits = (operation & FUTEX_CMD_MASK) == FUTEX_WAKE_BITSET;
      wire::GuestRequest request{.words = {kWakeUp, address, value, with_bits ? last : FUTEX_BITSET_MATCH_ANY}};
      return futex_request(request);
    }
    case FUTEX_CMP_REQUEUE: {
      const auto present = load<std::uint32_t>(address);
      if (!present) return -EFAULT;
      if (*present != last) return -EAGAIN;
      [[fallthrough]];
    }
    case FUTEX_REQUEUE: {
      wire::GuestRequest request{
          .words = {kRequeue, address, value, FUTEX_BITSET_MATCH_ANY, other, static_cast<std::uint32_t>(timeout)}};
      return futex_request(request);
    }
    case FUTEX_WAKE_OP: {
      const auto old = apply_operation(other, last);
      if (!old) return -EFAULT;
      wire::GuestRequest first{.words = {kWakeUp, address, value, FUTEX_BITSET_MATCH_ANY}};
      long woken = futex_request(first);
      if (!compare(*old, last)) return woken;
      wire::GuestRequest second{.words = {kWakeUp, other, static_cast<std::uint32_t>(timeout), FUTEX_BITSET_MATCH_ANY}};
      return woken + futex_request(second);
    }
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2:
    case FUTEX_TRYLOCK_PI: {
      const bool on_wall_clock = (operation & FUTEX_CMD_MASK) == FUTEX_LOCK_PI || realtime;
      const auto until = deadline(timeout, true, on_wall_clock);
      if (!until) return -EINVAL;
      return lock_owned(thread, address, (operation & FUTEX_CMD_MASK) == FUTEX_TRYLOCK_PI ? 0 : *until);
    }
    case FUTEX_UNLOCK_PI:
      return unlock_owned(thread, address);
    default:
      return -ENOSYS;
  }
}

// The priority-inheriting locks of futex(2), without the inheriting: priorities are those of one node's processors. The
// word has the owner's id; see "Priority-inheritance futexes" there.
long Process::lock_owned(GuestThread& thread, std::uint64_t address, std::int64_t deadline_ns) {
  if (!load<std::uint32_t>(address)) return -EFAULT;
  auto& word = *reinterpret_cast<std::atomic<std::uint32_t>*>(address);
  const auto own = static_cast<std::uint32_t>(thread.guest_tid);
  std::uint32_t others = 0;  // once this thread has waited there may be more that do
  for (;;) {
    std::uint32_t seen = word.load();
    const std::uint32_t owner = seen & FUTEX_TID_MASK;
    if (owner == own) return -EDEADLK;
    if (owner == 0) {
      if (word.compare_exchange_strong(seen, own | others | (seen & FUTEX_OWNER_DIED))) return 0;
      continue;
    }
    if (deadline_ns == 0) return -EAGAIN;
    if ((seen & FUTEX_WAITERS) == 0 && !word.compare_exchange_strong(seen, seen | FUTEX_WAITERS)) continue;
    others = FUTEX_WAITERS;
    const long waited = futex_wait(thread, address, seen | FUTEX_WAITERS, FUTEX_BITSET_MATCH_ANY, deadline_ns);
    if (waited == -ETIMEDOUT || waited == -EINTR || waited == -EFAULT) return waited;
  }
}

long Process::unlock_owned(GuestThread& thread, std::uint64_t address) {
  const auto seen = load<std::uint32_t>(address);
  if (!seen) return -EFAULT;
  if ((*seen & FUTEX_TID_MASK) != static_cast<std::uint32_t>(thread.guest_tid)) return -EPERM;
  reinterpret_cast<std::atomic<std::uint32_t>*>(address)->store(0);
  (void)wake_address(address, 1);
  return 0;
}

long Process::futex_request(wire::GuestRequest& request) {
  if (is_home()) return futex_at_home(kHome, request.words);
  request.kind = wire::GuestRequestKind::kFutex;
  return questions_.ask(kHome, request);
}

// Any thread of the home, the poller too.
long Process::futex_at_home(NodeId from, const std::uint64_t (&words)[8]) {
  const auto count = static_cast<std::uint32_t>(std::min<std::uint64_t>(words[2], ~0u));
  const auto bits = static_cast<std::uint32_t>(words[3]);
  std::vector<FutexWaiter> woken;
  long result = 0;
  {
    const std::lock_guard lock(futex_mu_);
    switch (static_cast<Operation>(words[0])) {
      case kEnlist:
        futexes_.enlist(words[1], bits, {from, words[6]});
        return 0;
      case kTakeOut:
        return futexes_.take_out({from, words[6]}) ? 1 : 0;
      case kWakeUp:
        woken = futexes_.wake(words[1], count, bits);
        result = static_cast<long>(woken.size());
        break;
      case kRequeue:
        woken = futexes_.wake(words[1], count, bits);
        result = static_cast<long>(woken.size()) +
                 futexes_.requeue(words[1], words[4], static_cast<std::uint32_t>(words[5]));
        break;
      default:
        return -EINVAL;
    }
  }
  for (const FutexWaiter& waiter : woken) wake(waiter);
  return result;
}

void Process::wake(const FutexWaiter& waiter) {
  if (waiter.node == self_) return wake_here(waiter.ticket);
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kWake, .words = {waiter.ticket}};
  questions_.post(waiter.node, request);
}

void Process::wake_here(std::uint64_t ticket) {
  const os::MutexLock lock(sleeps_mu_);
  const auto found = sleeps_.find(ticket);
  if (found == sleeps_.end()) return;
  found->second->woken.store(1);
  found->second->flag.set();
  os::futex_wake(found->second->woken, 1, os::FutexScope::kPrivate);
}

long Process::futex_wait(GuestThread& thread, std::uint64_t address, std::uint32_t value, std::uint32_t bits,
                         std::int64_t deadline_ns) {
  Sleep sleep;
  const std::uint64_t ticket = questions_.new_ticket();
  {
    const os::MutexLock lock(sleeps_mu_);
    sleeps_[ticket] = &sleep;
  }
  wire::GuestRequest enlist{.words = {kEnlist, address, 0, bits, 0, 0, ticket}};
  futex_request(enlist);
  long result = 0;
  // Looking at the word before, too, would fetch its page twice.
  if (const auto word = load<std::uint32_t>(address); !word || *word != value) {
    result = word ? -EAGAIN : -EFAULT;
  }
  let_held_pages_go(thread);  // not before: looking at the word would fetch the page back
  if (result == 0 && !runtime_.waiting().wait(sleep.flag, std::min(deadline_ns, os::monotonic_ns() + kSpinNs))) {
    while (result == 0 && sleep.woken.load() == 0) {
      const timespec until{deadline_ns / 1'000'000'000, deadline_ns % 1'000'000'000};
      const long slept = interruptible_system_call(
          thread, SYS_futex, reinterpret_cast<long>(&sleep.woken), FUTEX_WAIT_BITSET_PRIVATE, 0,
          deadline_ns == os::kNoDeadline ? 0 : reinterpret_cast<long>(&until), 0, FUTEX_BITSET_MATCH_ANY);
      if (slept == -ETIMEDOUT || slept == -EINTR) result = slept;
    }
  }
  if (result != 0) {
    wire::GuestRequest take_out{.words = {kTakeOut, 0, 0, 0, 0, 0, ticket}};
    if (futex_request(take_out) == 0) result = 0;  // a wake-up was meant for it
  }
  hold_pages_again(thread);
  const os::MutexLock lock(sleeps_mu_);
  sleeps_.erase(ticket);
  return result;
}

// A thread that is about to sleep has released what it had locked, or waits for another's release.
void Process::let_held_pages_go(GuestThread& thread) {
  for (std::uint64_t i = 0; i < thread.held_count; ++i) {
    if (held_locks_.take_out(thread.held_pages[i])) let_page_go(thread.held_pages[i]);
  }
}

void Process::hold_pages_again(GuestThread& thread) {
  for (std::uint64_t i = 0; i < thread.held_count; ++i) held_locks_.add(thread.held_pages[i]);
}

long Process::let_page_go(std::uint64_t page) {
  if (held_locks_.released(page)) runtime_.memory().unlocked(page * kPageBytes);
  return 0;
}

long Process::wake_address(std::uint64_t address, std::uint32_t most) {
  if (nodes_ == 1 || (is_home() && limits_.is_common(address)))
    (void)raw_system_call(SYS_futex, static_cast<long>(address), FUTEX_WAKE, most);
  wire::GuestRequest request{.words = {kWakeUp, address, most, FUTEX_BITSET_MATCH_ANY}};
  return futex_request(request);
}

// At the home. They look at their words again, and sleep where these are now: in the kernel.
void Process::wake_range(std::uint64_t begin, std::uint64_t end) {
  std::vector<FutexWaiter> woken;
  {
    const std::lock_guard lock(futex_mu_);
    woken = futexes_.wake_range(begin, end);
  }
  for (const FutexWaiter& waiter : woken) wake(waiter);
}

}  // namespace gallocy::personality
