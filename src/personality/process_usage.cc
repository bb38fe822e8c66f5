// What the program has used: processor time, faults and memory, summed over the nodes. The runtime's own is included.
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "personality/guest_memory.h"
#include "personality/process.h"

namespace gallocy::personality {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr std::int64_t kLongestSleepSeconds = 4'000'000'000;  // in which nanoseconds can be counted

// Clock ids that name a thread or process are made of its id (CPUCLOCK_PID in Linux's posix-timers.h).
constexpr long kPerThread = 4;
long id_of(long clock) { return ~(clock >> 3); }
long clock_of(long id, long clock) { return (~id << 3) | (clock & 7); }

timeval sum(timeval a, timeval b) {
  timeval s{a.tv_sec + b.tv_sec, a.tv_usec + b.tv_usec};
  if (s.tv_usec >= 1'000'000) s = {s.tv_sec + 1, s.tv_usec - 1'000'000};
  return s;
}

void add(rusage& to, const rusage& more) {
  to.ru_utime = sum(to.ru_utime, more.ru_utime);
  to.ru_stime = sum(to.ru_stime, more.ru_stime);
  to.ru_maxrss += more.ru_maxrss;
  to.ru_minflt += more.ru_minflt;
  to.ru_majflt += more.ru_majflt;
  to.ru_inblock += more.ru_inblock;
  to.ru_oublock += more.ru_oublock;
  to.ru_nvcsw += more.ru_nvcsw;
  to.ru_nivcsw += more.ru_nivcsw;
}

}  // namespace

NodeUsage Process::usage_here() {
  NodeUsage usage;
  ::getrusage(RUSAGE_SELF, &usage.resources);
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  usage.processor_ns = time.tv_sec * kSecondNs + time.tv_nsec;
  struct stat status {};
  const auto [file, ignored] = runtime_.memory().file_behind(begin_);
  if (file >= 0 && ::fstat(file, &status) == 0) {
    usage.resident_bytes = static_cast<std::uint64_t>(status.st_blocks) * 512;
  } else {
    usage.resident_bytes = static_cast<std::uint64_t>(usage.resources.ru_maxrss) << 10;
  }
  return usage;
}

NodeUsage Process::usage_of_all() {
  NodeUsage all = usage_here();
  for (std::uint16_t n = 0; n < nodes_; ++n) {
    if (NodeId{n} == self_) continue;
    wire::GuestRequest request{.kind = wire::GuestRequestKind::kUsage};
    std::vector<std::byte> answer;
    NodeUsage one;
    (void)questions_.ask(NodeId{n}, request, {}, &answer);
    if (answer.size() != sizeof one) continue;
    std::memcpy(&one, answer.data(), sizeof one);
    add(all.resources, one.resources);
    all.processor_ns += one.processor_ns;
    all.resident_bytes += one.resident_bytes;
  }
  return all;
}

// On a guest thread. -ENOSYS: not a call that is answered here.
long Process::usage_call(GuestThread& thread, const Call& call) {
  switch (call.number) {
    case SYS_getrusage: {
      rusage usage{};
      if (call.arguments[0] == RUSAGE_CHILDREN) return -ENOSYS;
      if (call.arguments[0] == RUSAGE_SELF) {
        usage = usage_of_all().resources;
      } else if (::getrusage(static_cast<__rusage_who>(call.arguments[0]), &usage) != 0) {
        return -errno;
      }
      return store(argument(call, 1), usage) ? 0 : -EFAULT;
    }
    case SYS_clock_getres:
      if (static_cast<int>(call.arguments[0]) >= 0) return -ENOSYS;
      return argument(call, 1) == 0 || store(argument(call, 1), timespec{0, 1}) ? 0 : -EFAULT;
    case SYS_clock_gettime: {
      const auto clock = static_cast<int>(call.arguments[0]);
      std::int64_t ns = 0;
      if (counts_from_start(clock)) {
        timespec own{};
        if (::clock_gettime(clock, &own) != 0) return -errno;
        ns = own.tv_sec * kSecondNs + own.tv_nsec + clock_offset();
      } else if (clock == CLOCK_THREAD_CPUTIME_ID) {
        ns = os::thread_processor_ns() + thread.processor_ns_elsewhere;
      } else {
        if (clock >= 0 && clock != CLOCK_PROCESS_CPUTIME_ID) return -ENOSYS;
        ns = processor_time(thread, clock);
        if (ns < 0) return ns;
      }
      return store(argument(call, 1), timespec{ns / kSecondNs, ns % kSecondNs}) ? 0 : -EFAULT;
    }
    case SYS_clock_nanosleep: {
      // Until a time of the home's clock.
      if (call.arguments[1] != TIMER_ABSTIME || !counts_from_start(call.arguments[0]) || clock_offset() == 0)
        return -ENOSYS;
      const auto until = load<timespec>(argument(call, 2));
      if (!until) return -EFAULT;
      if (until->tv_sec < 0 || until->tv_nsec < 0 || until->tv_nsec >= kSecondNs) return -EINVAL;
      if (until->tv_sec > kLongestSleepSeconds) return -ENOSYS;
      const std::int64_t own_ns =
          std::max<std::int64_t>(until->tv_sec * kSecondNs + until->tv_nsec - clock_offset(), 0);
      const timespec own{own_ns / kSecondNs, own_ns % kSecondNs};
      return interruptible_system_call(thread, SYS_clock_nanosleep, call.arguments[0], TIMER_ABSTIME,
                                       reinterpret_cast<long>(&own), 0);
    }
    default:
      return -ENOSYS;
  }
}

// At the home: of all nodes, and of the children, which are all here.
long Process::process_times(const Call& call) {
  const NodeUsage usage = usage_of_all();
  tms times{};
  const clock_t now = ::times(&times);
  const auto in_ticks = [ticks = ::sysconf(_SC_CLK_TCK)](timeval t) {
    return static_cast<clock_t>(t.tv_sec * ticks + t.tv_usec * ticks / 1'000'000);
  };
  times.tms_utime = in_ticks(usage.resources.ru_utime);
  times.tms_stime = in_ticks(usage.resources.ru_stime);
  return argument(call, 0) == 0 || store(argument(call, 0), times) ? now : -EFAULT;
}

std::int64_t Process::processor_time(const GuestThread& thread, long clock) {
  const bool of_process = clock == CLOCK_PROCESS_CPUTIME_ID || (clock & kPerThread) == 0;
  const long id = clock == CLOCK_PROCESS_CPUTIME_ID ? 0 : id_of(clock);
  if (of_process) return id == 0 || id == home_pid_ ? usage_of_all().processor_ns : -EINVAL;
  const long tid = id == 0 ? thread.guest_tid : id;
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kThreadTime,
                             .words = {static_cast<std::uint64_t>(tid), static_cast<std::uint64_t>(clock)}};
  const auto here = [&] { return thread_time_here(static_cast<int>(tid), clock); };
  const long ns = ask_about_thread(static_cast<int>(tid), request, {}, here);
  return ns == -ESRCH ? -EINVAL : ns;
}

// On any thread, the poller too.
std::int64_t Process::thread_time_here(int guest_tid, long clock) {
  const os::MutexLock lock(threads_mu_);
  const auto found = threads_.find(guest_tid);
  if (found == threads_.end()) return -ESRCH;
  const std::int64_t ns = kernel_thread_time(found->second->tid, clock);
  return ns < 0 ? ns : ns + found->second->processor_ns_elsewhere;
}

// Of a kernel thread of this process: a processor-time clock, of whose number the kind alone counts; or an error.
std::int64_t Process::kernel_thread_time(int tid, long clock) {
  timespec time{};
  const long result =
      raw_system_call(SYS_clock_gettime, static_cast<int>(clock_of(tid, clock)), reinterpret_cast<long>(&time));
  return result < 0 ? result : time.tv_sec * kSecondNs + time.tv_nsec;
}

}  // namespace gallocy::personality
