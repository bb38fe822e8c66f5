#include "os/prompt_scheduling.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

namespace gallocy::os {

void ask_for_prompt_scheduling() {
  if (::sched_getscheduler(0) != SCHED_OTHER) return;
  constexpr std::uint64_t kSliceNs = 100'000;   // the kernel's shortest
  constexpr std::uint64_t kResetOnFork = 0x01;  // SCHED_FLAG_RESET_ON_FORK
  constexpr int kNicer = 15;
  struct {
    std::uint32_t size = 48, policy = 0;
    std::uint64_t flags = kResetOnFork;
    std::int32_t nice = 0;
    std::uint32_t priority = 0;
    std::uint64_t runtime = kSliceNs, deadline = 0, period = 0;
  } attributes;
  const int nice = ::getpriority(PRIO_PROCESS, 0);
  attributes.nice = std::max(nice - kNicer, -20);
  if (::syscall(SYS_sched_setattr, 0, &attributes, 0u) == 0) return;
  attributes.nice = nice;
  ::syscall(SYS_sched_setattr, 0, &attributes, 0u);
}

}  // namespace gallocy::os
