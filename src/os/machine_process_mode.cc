// What `gallocy run` needs of a machine beside what every node does.
#include <errno.h>
#include <fmt/format.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "os/machine.h"
#include "os/prompt_scheduling.h"

namespace gallocy::os {
namespace {

MachineFact fact(bool good, std::string name, std::string value, Verdict otherwise, std::string advice) {
  return {.name = std::move(name),
          .value = std::move(value),
          .verdict = good ? Verdict::kOk : otherwise,
          .advice = good ? "" : std::move(advice)};
}

MachineFact syscall_user_dispatch() {
  constexpr int kSetDispatch = 59, kOff = 0;  // PR_SET_SYSCALL_USER_DISPATCH; off is the state we are in
  const bool has = ::prctl(kSetDispatch, kOff, 0, 0, 0) == 0;
  return fact(has, "syscall user dispatch", has ? "yes" : "no", Verdict::kMissing,
              "Programs' system calls cannot be caught: Linux 5.11 has Syscall User Dispatch.");
}

MachineFact fsgsbase() {
  constexpr unsigned long kHwcap2Fsgsbase = 1 << 1;
  const bool has = (::getauxval(AT_HWCAP2) & kHwcap2Fsgsbase) != 0;
  return fact(has, "fsgsbase", has ? "yes" : "no", Verdict::kMissing,
              "Thread pointers cannot be switched: take Linux 5.9 or later on a processor since 2012.");
}

// The runtime's descriptors begin at 900; each shared file mapping of the program takes one more.
MachineFact descriptors() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const bool unlimited = limit.rlim_max == RLIM_INFINITY;
  constexpr rlim_t kLeast = 1'000, kEnough = 4'096;
  return fact(limit.rlim_max >= kEnough, "hard limit of open files",
              unlimited ? "unlimited" : std::to_string(limit.rlim_max),
              limit.rlim_max >= kLeast ? Verdict::kDegraded : Verdict::kMissing,
              "gallocy's own descriptors begin at 900, and mapped files take more: raise `ulimit -Hn` to 4096.");
}

MachineFact view_directory() {
  const bool can_write = ::access("/dev/shm", W_OK | X_OK) == 0;
  return fact(can_write, "/dev/shm", can_write ? "writable" : "not writable", Verdict::kDegraded,
              "Programs see the processors and memory of this machine only, not those of all nodes: allow it.");
}

// Tried on a thread of its own.
MachineFact priority() {
  bool better = false;
  std::thread([&better] {
    const int before = ::getpriority(PRIO_PROCESS, 0);
    ask_for_prompt_scheduling();
    better = ::getpriority(PRIO_PROCESS, 0) < before;
  }).join();
  return fact(better, "priority of waiting threads", better ? "raised" : "ordinary", Verdict::kDegraded,
              "Where other programs or the node's own threads keep the processors busy, answers to other nodes come "
              "later. Root has it; for others allow a nice value of -15 (`ulimit -e 35`, limits.conf: nice).");
}

}  // namespace

std::vector<MachineFact> examine_for_process_mode() {
  return {syscall_user_dispatch(), fsgsbase(), descriptors(), view_directory(), priority()};
}

}  // namespace gallocy::os
