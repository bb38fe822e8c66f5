#include "personality/call_table.h"

#include <linux/time_types.h>
#include <mqueue.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <time.h>

namespace gallocy::personality {
namespace {

constexpr std::uint32_t kFdSetBytes = 128, kSigsetBytes = 8, kTimeBytes = sizeof(timespec);

constexpr PointerArgument text(std::uint8_t argument) {
  return {.direction = Direction::kString, .argument = argument};
}
constexpr PointerArgument in(std::uint8_t argument, std::uint32_t bytes, int count = -1) {
  return {Direction::kIn, argument, bytes, static_cast<std::int8_t>(count), false};
}
constexpr PointerArgument out(std::uint8_t argument, std::uint32_t bytes, int count = -1) {
  return {Direction::kOut, argument, bytes, static_cast<std::int8_t>(count), false};
}
constexpr PointerArgument result(std::uint8_t argument, std::uint32_t bytes, int count) {
  return {Direction::kOut, argument, bytes, static_cast<std::int8_t>(count), true};
}
constexpr PointerArgument both(std::uint8_t argument, std::uint32_t bytes, int count = -1) {
  return {Direction::kInOut, argument, bytes, static_cast<std::int8_t>(count), false};
}

using Pointers = std::array<PointerArgument, 4>;
constexpr CallSpec home(Pointers pointers = {}) { return {.pointers = pointers}; }
constexpr CallSpec here(Pointers pointers = {}) { return {.place = CallPlace::kHere, .pointers = pointers}; }
constexpr CallSpec waits(Pointers pointers = {}) { return {.blocks = true, .restarts = true, .pointers = pointers}; }
constexpr CallSpec waits_once(Pointers pointers = {}) { return {.blocks = true, .pointers = pointers}; }
constexpr CallSpec sleeps(Pointers pointers = {}) {
  return {.place = CallPlace::kHere, .blocks = true, .pointers = pointers};
}

struct Entry {
  long number;
  CallSpec spec;
};

#define CALL(name, ...) \
  { SYS_##name, __VA_ARGS__ }

constexpr Entry kEntries[] = {
    // bytes
    CALL(read, waits({result(1, 1, 2)})),
    CALL(write, waits({in(1, 1, 2)})),
    CALL(pread64, waits({result(1, 1, 2)})),
    CALL(pwrite64, waits({in(1, 1, 2)})),
    CALL(sendfile, waits({both(2, 8)})),
    CALL(splice, waits({both(1, 8), both(3, 8)})),
    CALL(tee, waits()),
    CALL(copy_file_range, waits({both(1, 8), both(3, 8)})),
    CALL(readahead, home()),
    CALL(fadvise64, home()),
    CALL(fallocate, home()),
    CALL(ftruncate, home()),
    CALL(truncate, home({text(0)})),
    CALL(lseek, home()),
    CALL(fsync, home()),
    CALL(fdatasync, home()),
    CALL(sync_file_range, home()),
    CALL(sync, home()),
    CALL(syncfs, home()),
    // names
    CALL(open, waits({text(0)})),
    CALL(openat, waits({text(1)})),
    CALL(openat2, waits({text(1), in(2, 1, 3)})),
    CALL(creat, waits({text(0)})),
    CALL(close, home()),
    CALL(close_range, home()),
    CALL(stat, home({text(0), out(1, sizeof(struct stat))})),
    CALL(lstat, home({text(0), out(1, sizeof(struct stat))})),
    CALL(fstat, home({out(1, sizeof(struct stat))})),
    CALL(newfstatat, home({text(1), out(2, sizeof(struct stat))})),
    CALL(statx, home({text(1), out(4, 256)})),
    CALL(statfs, home({text(0), out(1, sizeof(struct statfs))})),
    CALL(fstatfs, home({out(1, sizeof(struct statfs))})),
    CALL(access, home({text(0)})),
    CALL(faccessat, home({text(1)})),
    CALL(faccessat2, home({text(1)})),
    CALL(getdents, home({result(1, 1, 2)})),
    CALL(getdents64, home({result(1, 1, 2)})),
    CALL(getcwd, home({result(0, 1, 1)})),
    CALL(chdir, home({text(0)})),
    CALL(fchdir, home()),
    CALL(mkdir, home({text(0)})),
    CALL(mkdirat, home({text(1)})),
    CALL(rmdir, home({text(0)})),
    CALL(unlink, home({text(0)})),
    CALL(unlinkat, home({text(1)})),
    CALL(rename, home({text(0), text(1)})),
    CALL(renameat, home({text(1), text(3)})),
    CALL(renameat2, home({text(1), text(3)})),
    CALL(link, home({text(0), text(1)})),
    CALL(linkat, home({text(1), text(3)})),
    CALL(symlink, home({text(0), text(1)})),
    CALL(symlinkat, home({text(0), text(2)})),
    CALL(readlink, home({text(0), result(1, 1, 2)})),
    CALL(readlinkat, home({text(1), result(2, 1, 3)})),
    CALL(chmod, home({text(0)})),
    CALL(fchmod, home()),
    CALL(fchmodat, home({text(1)})),
    CALL(chown, home({text(0)})),
    CALL(lchown, home({text(0)})),
    CALL(fchown, home()),
    CALL(fchownat, home({text(1)})),
    CALL(utimensat, home({text(1), in(2, 2 * kTimeBytes)})),
    CALL(utime, home({text(0), in(1, 16)})),
    CALL(utimes, home({text(0), in(1, 32)})),
    CALL(futimesat, home({text(1), in(2, 32)})),
    CALL(mknod, home({text(0)})),
    CALL(mknodat, home({text(1)})),
    CALL(umask, home()),
    CALL(getxattr, home({text(0), text(1), result(2, 1, 3)})),
    CALL(lgetxattr, home({text(0), text(1), result(2, 1, 3)})),
    CALL(fgetxattr, home({text(1), result(2, 1, 3)})),
    CALL(setxattr, home({text(0), text(1), in(2, 1, 3)})),
    CALL(lsetxattr, home({text(0), text(1), in(2, 1, 3)})),
    CALL(fsetxattr, home({text(1), in(2, 1, 3)})),
    CALL(removexattr, home({text(0), text(1)})),
    CALL(lremovexattr, home({text(0), text(1)})),
    CALL(fremovexattr, home({text(1)})),
    CALL(listxattr, home({text(0), result(1, 1, 2)})),
    CALL(llistxattr, home({text(0), result(1, 1, 2)})),
    CALL(flistxattr, home({result(1, 1, 2)})),
    CALL(flock, waits()),
    // descriptors
    CALL(dup, home()),
    CALL(dup2, home()),
    CALL(dup3, home()),
    CALL(pipe, home({out(0, 8)})),
    CALL(pipe2, home({out(0, 8)})),
    CALL(eventfd, home()),
    CALL(eventfd2, home()),
    CALL(timerfd_create, home()),
    CALL(timerfd_settime, home({in(2, 32), out(3, 32)})),
    CALL(timerfd_gettime, home({out(1, 32)})),
    CALL(signalfd, home({in(1, kSigsetBytes)})),
    CALL(signalfd4, home({in(1, kSigsetBytes)})),
    CALL(memfd_create, home({text(0)})),
    CALL(inotify_init, home()),
    CALL(inotify_init1, home()),
    CALL(inotify_add_watch, home({text(1)})),
    CALL(inotify_rm_watch, home()),
    CALL(epoll_create, home()),
    CALL(epoll_create1, home()),
    CALL(epoll_ctl, home({in(3, sizeof(epoll_event))})),
    CALL(epoll_wait, waits_once({result(1, sizeof(epoll_event), 2)})),
    CALL(epoll_pwait, waits_once({result(1, sizeof(epoll_event), 2), in(4, kSigsetBytes)})),
    CALL(epoll_pwait2, waits_once({result(1, sizeof(epoll_event), 2), in(3, kTimeBytes), in(4, kSigsetBytes)})),
    CALL(poll, waits_once({both(0, sizeof(pollfd), 1)})),
    CALL(ppoll, waits_once({both(0, sizeof(pollfd), 1), both(2, kTimeBytes), in(3, kSigsetBytes)})),
    CALL(select,
         waits_once({both(1, kFdSetBytes), both(2, kFdSetBytes), both(3, kFdSetBytes), both(4, sizeof(timeval))})),
    // sockets
    CALL(socket, home()),
    CALL(socketpair, home({out(3, 8)})),
    CALL(bind, home({in(1, 1, 2)})),
    CALL(listen, home()),
    CALL(connect, waits({in(1, 1, 2)})),
    CALL(shutdown, home()),
    CALL(sendto, waits({in(1, 1, 2), in(4, 1, 5)})),
    CALL(setsockopt, home({in(3, 1, 4)})),
    // message queues (mq_overview(7)), but mq_notify
    CALL(mq_open, home({text(0), in(3, sizeof(struct mq_attr))})),
    CALL(mq_unlink, home({text(0)})),
    CALL(mq_timedsend, waits({in(1, 1, 2), in(4, kTimeBytes)})),
    CALL(mq_timedreceive, waits({result(1, 1, 2), out(3, 4), in(4, kTimeBytes)})),
    CALL(mq_getsetattr, home({in(1, sizeof(struct mq_attr)), out(2, sizeof(struct mq_attr))})),
    // process
    CALL(getppid, home()),
    CALL(getuid, home()),
    CALL(geteuid, home()),
    CALL(getgid, home()),
    CALL(getegid, home()),
    CALL(getresuid, home({out(0, 4), out(1, 4), out(2, 4)})),
    CALL(getresgid, home({out(0, 4), out(1, 4), out(2, 4)})),
    CALL(getgroups, home({out(1, 4, 0)})),
    CALL(getpgid, home()),
    CALL(getpgrp, home()),
    CALL(setpgid, home()),
    CALL(getsid, home()),
    CALL(setsid, home()),
    CALL(getpriority, home()),
    CALL(setpriority, home()),
    CALL(getrusage, home({out(1, sizeof(struct rusage))})),
    CALL(times, home({out(0, sizeof(struct tms))})),
    CALL(uname, home({out(0, sizeof(struct utsname))})),
    CALL(sysinfo, home({out(0, sizeof(struct sysinfo))})),
    CALL(getrlimit, home({out(1, sizeof(struct rlimit))})),
    CALL(setrlimit, home({in(1, sizeof(struct rlimit))})),
    CALL(prlimit64, home({in(2, sizeof(struct rlimit)), out(3, sizeof(struct rlimit))})),
    CALL(wait4, waits({out(1, 4), out(3, sizeof(struct rusage))})),
    CALL(waitid, waits({out(2, 128), out(4, sizeof(struct rusage))})),
    CALL(kill, home()),
    CALL(rt_sigqueueinfo, home({in(2, 128)})),
    CALL(pidfd_send_signal, home({in(2, 128)})),
    CALL(setitimer, home({in(1, sizeof(itimerval)), out(2, sizeof(itimerval))})),
    CALL(getitimer, home({out(1, sizeof(itimerval))})),
    CALL(alarm, home()),
    CALL(capget, home({both(0, 8), out(1, 24)})),
    CALL(pidfd_open, home()),
    CALL(personality, home()),
    CALL(ioprio_get, home()),
    CALL(ioprio_set, home()),
    // time, scheduling: of the thread's node
    CALL(nanosleep, sleeps({in(0, kTimeBytes), out(1, kTimeBytes)})),
    CALL(clock_nanosleep, sleeps({in(2, kTimeBytes), out(3, kTimeBytes)})),
    CALL(clock_gettime, here({out(1, kTimeBytes)})),
    CALL(clock_getres, here({out(1, kTimeBytes)})),
    CALL(gettimeofday, here({out(0, sizeof(timeval)), out(1, 8)})),
    CALL(time, here({out(0, 8)})),
    CALL(adjtimex, here({both(0, sizeof(struct timex))})),
    CALL(clock_adjtime, here({both(1, sizeof(struct timex))})),
    CALL(getrandom, here({result(0, 1, 1)})),
    CALL(sched_yield, here()),
    CALL(sched_get_priority_max, here()),
    CALL(sched_get_priority_min, here()),
    CALL(sched_rr_get_interval, here({out(1, kTimeBytes)})),
    CALL(membarrier, here()),
};

#undef CALL

constexpr std::size_t kMostCalls = 512;

struct Table {
  std::array<const Entry*, kMostCalls> entries{};
  Table() {
    for (const Entry& entry : kEntries) entries[static_cast<std::size_t>(entry.number)] = &entry;
  }
};

const Entry* entry_of(long number) {
  static const Table table;
  return number >= 0 && static_cast<std::size_t>(number) < kMostCalls ? table.entries[static_cast<std::size_t>(number)]
                                                                      : nullptr;
}

}  // namespace

const CallSpec* call_spec(long number) {
  const Entry* const entry = entry_of(number);
  return entry != nullptr ? &entry->spec : nullptr;
}

}  // namespace gallocy::personality
