#include "os/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"

namespace gallocy::os {
namespace {

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));

int operation(int base, FutexScope scope) { return scope == FutexScope::kPrivate ? base | FUTEX_PRIVATE_FLAG : base; }

}  // namespace

FutexWait futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected, FutexScope scope,
                     std::int64_t deadline_ns) {
  timespec deadline;
  timespec* until = nullptr;
  if (deadline_ns != kNoDeadline) {
    if (deadline_ns < 0) deadline_ns = 0;
    deadline = {.tv_sec = deadline_ns / 1'000'000'000, .tv_nsec = deadline_ns % 1'000'000'000};
    until = &deadline;
  }
  const int saved = errno;
  // WAIT_BITSET, unlike WAIT, takes an absolute time, so that a retry after a signal does not wait longer.
  const long result = ::syscall(SYS_futex, &word, operation(FUTEX_WAIT_BITSET, scope), expected, until, nullptr,
                                FUTEX_BITSET_MATCH_ANY);
  const int error = result == 0 ? 0 : errno;
  errno = saved;
  switch (error) {
    case 0:
    case EINTR:
      return FutexWait::kWoken;
    case EAGAIN:
      return FutexWait::kChanged;
    case ETIMEDOUT:
      return FutexWait::kTimedOut;
  }
  CHECK(false && "futex wait", error);
  __builtin_unreachable();
}

unsigned futex_wake(const std::atomic<std::uint32_t>& word, unsigned sleepers, FutexScope scope) {
  const int saved = errno;
  const long woken = ::syscall(SYS_futex, &word, operation(FUTEX_WAKE, scope), sleepers, nullptr, nullptr, 0);
  const int error = errno;
  errno = saved;
  CHECK(woken >= 0, error);
  return static_cast<unsigned>(woken);
}

}  // namespace gallocy::os
