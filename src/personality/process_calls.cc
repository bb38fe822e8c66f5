// Which part serves a system call, and passing calls on to the kernel. The kernel never gets a pointer to the program's
// memory: its pages may be on other nodes, and not every user may have the kernel wait for a page. What a call reads or
// writes is copied (call_table.h says what that is).
#include <asm/prctl.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "personality/guest_memory.h"
#include "personality/process.h"

namespace gallocy::personality {
namespace {

// A request for more than this is answered by less, as the kernel may.
constexpr std::size_t kMostBytes = 64 << 20;
// What goes along in a message; frames have a limit (wire/frame.h).
constexpr std::size_t kMostTravelling = 8 << 10;

std::uint64_t argument(const Call& call, int i) { return static_cast<std::uint64_t>(call.arguments[i]); }

}  // namespace

void Process::system_call(GuestThread& thread, int number, ucontext_t& context) {
  greg_t* const r = context.uc_mcontext.gregs;
  const Call call{.number = number,
                  .arguments = {r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9]}};
  r[REG_RAX] = -ENOSYS;
  const long result = serve(thread, call, context);
  r[REG_RAX] = result;
  if (options_.trace_calls) {
    const std::string line =
        fmt::format("[{}] {}({}) ({:#x}, {:#x}, {:#x}, {:#x}) = {:#x}\n", thread.guest_tid, call_name(number), number,
                    call.arguments[0], call.arguments[1], call.arguments[2], call.arguments[3], result);
    raw_system_call(SYS_write, 2, reinterpret_cast<long>(line.data()), static_cast<long>(line.size()));
  }
  if (thread.must_end.load()) end_thread_quietly(thread);
  if (result == -EINTR) {
    const CallSpec* const spec = call_spec(number);
    const bool restartable = (spec != nullptr && spec->restarts) || number == SYS_futex || number == SYS_readv ||
                             number == SYS_writev || number == SYS_recvmsg || number == SYS_sendmsg ||
                             number == SYS_accept || number == SYS_accept4 || number == SYS_recvfrom;
    if (restartable && thread.signal_pending.load() != 0 && restarts(thread)) {
      r[REG_RAX] = number;
      r[REG_RIP] -= 2;  // the syscall instruction
    }
  }
  // Delivered when the handler has returned.
  if (thread.signal_pending.load() != 0) raw_system_call(SYS_tkill, thread.tid, kKickSignal);
}

long Process::serve(GuestThread& thread, const Call& call, ucontext_t& context) {
  if (thread.in_vfork_child) return serve_borrower(thread, call, context);
  switch (call.number) {
    case SYS_gettid:
      return thread.guest_tid;
    case SYS_getpid:
      return home_pid_;
    case SYS_set_tid_address:
      thread.clear_tid = argument(call, 0);
      return thread.guest_tid;
    case SYS_set_robust_list:
      thread.robust_list = argument(call, 0);
      return 0;
    case SYS_get_robust_list:
    case SYS_rseq:  // the kernel would write into coherent memory whenever it likes
    case SYS_io_uring_setup:
    case SYS_userfaultfd:
    case SYS_futex_waitv:
      return -ENOSYS;
    case SYS_futex:
      return futex(thread, call);
    case SYS_clone:
    case SYS_clone3:
    case SYS_fork:
    case SYS_vfork:
      return clone(thread, call, context);
    case SYS_execve:
      if (!is_home()) return -EAGAIN;
      if (const long failed = execute(thread, call, context); failed != 0) return failed;
      return context.uc_mcontext.gregs[REG_RAX];
    case SYS_exit:
      end_thread(thread);
    case SYS_exit_group:
      exit_process(static_cast<int>(call.arguments[0]) & 0xff);
    case SYS_rt_sigprocmask:
    case SYS_sigaltstack:
    case SYS_rt_sigreturn:
    case SYS_rt_sigpending:
    case SYS_rt_sigsuspend:
    case SYS_rt_sigtimedwait:
      return signal_call(thread, call, context);
    case SYS_pause:
      return interruptible_system_call(thread, SYS_pause);
    case SYS_arch_prctl:
      if (call.arguments[0] == ARCH_SET_FS) return thread.guest_fs = argument(call, 1), 0;
      if (call.arguments[0] == ARCH_GET_FS) return store(argument(call, 1), thread.guest_fs) ? 0 : -EFAULT;
      return -EINVAL;
    case SYS_tkill:
    case SYS_tgkill: {
      const bool with_group = call.number == SYS_tgkill;
      const int tid = static_cast<int>(call.arguments[with_group ? 1 : 0]);
      const int number = static_cast<int>(call.arguments[with_group ? 2 : 1]);
      siginfo_t info{};
      info.si_signo = number;
      info.si_code = SI_TKILL;
      info.si_pid = home_pid_;
      info.si_uid = ::getuid();
      return send_to_thread(tid, number, info);
    }
    case SYS_rt_tgsigqueueinfo: {
      siginfo_t info;
      if (!copy_in(&info, argument(call, 3), sizeof info)) return -EFAULT;
      return send_to_thread(static_cast<int>(call.arguments[1]), static_cast<int>(call.arguments[2]), info);
    }
    case SYS_getcpu:
      return present_processor(call);
    case SYS_sched_getscheduler:
      return 0;
    case SYS_sched_getparam:
      return store(argument(call, 1), 0) ? 0 : -EFAULT;
    case SYS_sched_setscheduler:
    case SYS_sched_setparam: {
      // Only what every thread has already; priorities would be those of one node's processors.
      const auto priority = load<int>(argument(call, call.number == SYS_sched_setparam ? 1 : 2));
      const long policy = call.number == SYS_sched_setparam ? SCHED_OTHER : call.arguments[1] & ~SCHED_RESET_ON_FORK;
      if (!priority) return -EFAULT;
      const bool plain = policy == SCHED_OTHER || policy == SCHED_BATCH || policy == SCHED_IDLE;
      return plain ? (*priority == 0 ? 0 : -EINVAL) : -EPERM;
    }
    case SYS_clock_gettime:
      if (static_cast<int>(call.arguments[0]) < 0) return processor_clock(call);
      break;
    case SYS_prctl:
      switch (call.arguments[0]) {
        case PR_SET_NAME: {
          char name[16] = {};
          const auto given = copy_string(argument(call, 1), 4096);
          if (!given) return -EFAULT;
          given->copy(name, sizeof name - 1);
          return raw_system_call(SYS_prctl, PR_SET_NAME, reinterpret_cast<long>(name));
        }
        case PR_GET_NAME: {
          char name[16] = {};
          raw_system_call(SYS_prctl, PR_GET_NAME, reinterpret_cast<long>(name));
          return copy_out(argument(call, 1), name, sizeof name) ? 0 : -EFAULT;
        }
        case PR_SET_TIMERSLACK:
        case PR_GET_TIMERSLACK:
          return raw_system_call(SYS_prctl, call.arguments[0], call.arguments[1]);
        default:
          break;
      }
      break;
    default:
      break;
  }
  const CallSpec* const spec = call_spec(call.number);
  if (spec != nullptr && spec->place == CallPlace::kHere) return pass_on(&thread, call, *spec);
  if (is_home()) return serve_at_home(&thread, call);
  if (spec != nullptr && travels_with_data(call)) return pass_on(&thread, call, *spec);
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kCall};
  const bool of_a_thread = call.number == SYS_sched_setaffinity || call.number == SYS_sched_getaffinity;
  request.words[0] = static_cast<std::uint64_t>(thread.guest_tid);
  request.words[1] = static_cast<std::uint64_t>(call.number);
  for (std::size_t i = 0; i < 6; ++i) request.words[2 + i] = static_cast<std::uint64_t>(call.arguments[i]);
  if (of_a_thread && call.arguments[0] == 0) request.words[2] = request.words[0];  // its own
  return with_pipe_signal(thread, call, ask_home(thread, request));
}

// The signal of a broken pipe goes to the thread that wrote, not to its proxy.
long Process::with_pipe_signal(GuestThread& thread, const Call& call, long result) {
  if (result != -EPIPE) return result;
  if (call.number == SYS_sendto && (call.arguments[3] & MSG_NOSIGNAL) != 0) return result;
  if (call.number == SYS_sendmsg && (call.arguments[2] & MSG_NOSIGNAL) != 0) return result;
  PendingSignal signal{.number = SIGPIPE};
  signal.info.si_signo = SIGPIPE;
  queue(thread, signal);
  return result;
}

namespace {

// Calls whose first argument is a descriptor.
bool names_descriptor(long number) {
  switch (number) {
    case SYS_read:
    case SYS_write:
    case SYS_close:
    case SYS_fstat:
    case SYS_lseek:
    case SYS_ioctl:
    case SYS_pread64:
    case SYS_pwrite64:
    case SYS_readv:
    case SYS_writev:
    case SYS_dup:
    case SYS_dup2:
    case SYS_dup3:
    case SYS_fcntl:
    case SYS_ftruncate:
    case SYS_sendto:
    case SYS_recvfrom:
    case SYS_sendmsg:
    case SYS_recvmsg:
    case SYS_shutdown:
      return true;
    default:
      return false;
  }
}

}  // namespace

long Process::serve_at_home(GuestThread* thread, const Call& call) {
  if (names_descriptor(call.number) &&
      (is_runtime_descriptor(call.arguments[0]) || is_mapping_descriptor(static_cast<int>(call.arguments[0])))) {
    return -EBADF;
  }
  switch (call.number) {
    case SYS_mmap:
    case SYS_munmap:
    case SYS_mprotect:
    case SYS_mremap:
    case SYS_brk:
    case SYS_madvise:
    case SYS_msync:
      return memory_call(call);
    case SYS_sched_getaffinity:
      return get_affinity(call);
    case SYS_sched_setaffinity:
      return set_affinity(call);
    case SYS_get_mempolicy:
    case SYS_set_mempolicy:
    case SYS_mbind:
      return memory_policy(call);
    case SYS_sysinfo:
      return system_information(call);
    case SYS_open:
    case SYS_openat:
      if (const long fd = open_own(call); fd != -ENOSYS) return fd;
      break;
    case SYS_readlink:
    case SYS_readlinkat:
      if (const long length = read_own_link(call); length != -ENOSYS) return length;
      break;
    case SYS_timer_create:
    case SYS_timer_settime:
    case SYS_timer_gettime:
    case SYS_timer_getoverrun:
    case SYS_timer_delete:
      return timer_call(call);
    case SYS_mincore:
      return residency(call);
    case SYS_sendmmsg:
    case SYS_recvmmsg:
      return many_messages(thread, call);
    case SYS_mlock:
    case SYS_munlock:
    case SYS_mlockall:
    case SYS_munlockall:
      return 0;
    case SYS_rt_sigaction:
      return set_action(call);
    case SYS_rt_sigtimedwait:
      return wait_in_kernel(*thread, call);
    case SYS_dup2:
    case SYS_dup3:
      if (is_runtime_descriptor(call.arguments[1])) return -EBADF;
      break;
    case SYS_close_range:
      return close_range(call);
    case SYS_readv:
    case SYS_writev:
    case SYS_preadv:
    case SYS_pwritev:
      return vectors(thread, call);
    case SYS_sendmsg:
    case SYS_recvmsg:
      return messages(thread, call);
    case SYS_accept:
    case SYS_accept4:
    case SYS_getsockname:
    case SYS_getpeername:
    case SYS_recvfrom:
    case SYS_getsockopt:
      return socket_address(thread, call);
    case SYS_ioctl:
      return device_control(thread, call);
    case SYS_fcntl:
      return descriptor_control(thread, call);
    case SYS_pselect6:
      return select_with_mask(thread, call);
    case SYS_prctl:
      switch (call.arguments[0]) {
        case PR_SET_DUMPABLE:
        case PR_GET_DUMPABLE:
        case PR_SET_NO_NEW_PRIVS:
        case PR_GET_NO_NEW_PRIVS:
        case PR_SET_PDEATHSIG:
        case PR_CAPBSET_READ:
        case PR_SET_CHILD_SUBREAPER:
          return raw_system_call(SYS_prctl, call.arguments[0], call.arguments[1], call.arguments[2], call.arguments[3],
                                 call.arguments[4]);
        case PR_SET_VMA:  // names of mappings
          return 0;
        default:
          return -EINVAL;
      }
    default:
      break;
  }
  const CallSpec* const spec = call_spec(call.number);
  return spec != nullptr ? pass_on(thread, call, *spec) : -ENOSYS;
}

long Process::kernel(GuestThread* thread, const CallSpec& spec, const Call& call) {
  const long* const a = call.arguments;
  if (spec.blocks && thread != nullptr) {
    return interruptible_system_call(*thread, call.number, a[0], a[1], a[2], a[3], a[4], a[5]);
  }
  return raw_system_call(call.number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

long Process::pass_on(GuestThread* thread, const Call& original, const CallSpec& spec) {
  Call call = original;
  std::array<std::vector<std::byte>, 4> buffers;
  std::array<std::string, 4> strings;
  for (std::size_t i = 0; i < spec.pointers.size(); ++i) {
    const PointerArgument& p = spec.pointers[i];
    if (p.direction == Direction::kNone) break;
    const std::uint64_t address = argument(original, p.argument);
    if (address == 0) continue;
    if (p.direction == Direction::kString) {
      auto path = copy_string(address);
      if (!path) return -EFAULT;
      strings[i] = file_to_use(std::move(*path));
      if (strings[i].empty() && copy_string(address)->size() != 0) return -ENOENT;
      call.arguments[p.argument] = reinterpret_cast<long>(strings[i].c_str());
      continue;
    }
    std::size_t bytes = p.bytes;
    if (p.count_argument >= 0) {
      const std::uint64_t count = std::min<std::uint64_t>(argument(original, p.count_argument), kMostBytes / p.bytes);
      call.arguments[p.count_argument] = static_cast<long>(count);
      bytes *= count;
    }
    buffers[i].resize(std::max<std::size_t>(bytes, 1));
    const bool goes_in = p.direction == Direction::kIn || p.direction == Direction::kInOut;
    if (goes_in && !copy_in(buffers[i].data(), address, bytes)) return -EFAULT;
    call.arguments[p.argument] = reinterpret_cast<long>(buffers[i].data());
  }
  const bool remote = !is_home() && spec.place == CallPlace::kHome;
  const long result = remote ? with_pipe_signal(*thread, call, send_with_data(*thread, original, call, spec, buffers))
                             : kernel(thread, spec, call);
  for (std::size_t i = 0; i < spec.pointers.size(); ++i) {
    const PointerArgument& p = spec.pointers[i];
    if (p.direction != Direction::kOut && p.direction != Direction::kInOut) continue;
    const std::uint64_t address = argument(original, p.argument);
    const bool interrupted_sleep = result == -EINTR && spec.place == CallPlace::kHere;
    if (address == 0 || (result < 0 && !interrupted_sleep)) continue;
    std::size_t bytes = buffers[i].size();
    if (p.result_counts) bytes = std::min(bytes, static_cast<std::size_t>(result) * p.bytes);
    if (bytes != 0 && !copy_out(address, buffers[i].data(), bytes)) return -EFAULT;
  }
  return result;
}

// The processor time of a thread of this node (clock ids of pthread_getcpuclockid are made of its id).
long Process::processor_clock(const Call& call) {
  const long clock = static_cast<int>(call.arguments[0]);
  constexpr long kPerThread = 4;
  long own = clock;
  if ((clock & kPerThread) != 0) {
    const long tid = ~(clock >> 3);
    if (tid != 0 && tid >> kTidNodeShift != self_.value) return -EINVAL;
    own = (~(tid & ((1 << kTidNodeShift) - 1)) << 3) | (clock & 7);
  }
  timespec time{};
  const long result = raw_system_call(SYS_clock_gettime, own, reinterpret_cast<long>(&time));
  if (result < 0) return result;
  return store(argument(call, 1), time) ? 0 : -EFAULT;
}

long Process::many_messages(GuestThread* thread, const Call& call) {
  const std::uint64_t count = std::min<std::uint64_t>(argument(call, 2), IOV_MAX);
  const bool sends = call.number == SYS_sendmmsg;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t at = argument(call, 1) + i * sizeof(mmsghdr);
    const long flags = call.arguments[3] | (i > 0 && !sends ? MSG_DONTWAIT : 0);
    const Call one{.number = sends ? SYS_sendmsg : SYS_recvmsg,
                   .arguments = {call.arguments[0], static_cast<long>(at), flags & ~long{MSG_WAITFORONE}}};
    const long result = messages(thread, one);
    if (result < 0) return i > 0 ? static_cast<long>(i) : result;
    if (!store(at + offsetof(mmsghdr, msg_len), static_cast<unsigned>(result))) return -EFAULT;
  }
  return static_cast<long>(count);
}

// Calls that need nothing of the home but the kernel, and not much memory: it goes along, instead of being fetched page
// by page.
bool Process::travels_with_data(const Call& call) {
  switch (call.number) {
    case SYS_read:
    case SYS_write:
    case SYS_pread64:
    case SYS_pwrite64:
      return argument(call, 2) <= kMostTravelling;
    case SYS_poll:
      return argument(call, 1) <= kMostTravelling / sizeof(std::uint64_t);
    case SYS_sendto:
      return argument(call, 2) + argument(call, 5) <= kMostTravelling;
    case SYS_epoll_wait:
      return argument(call, 2) <= kMostTravelling / 12;
    case SYS_lseek:
    case SYS_fstat:
    case SYS_close:
    case SYS_fsync:
    case SYS_getppid:
    case SYS_getuid:
    case SYS_geteuid:
    case SYS_getgid:
    case SYS_getegid:
    case SYS_epoll_ctl:
    case SYS_eventfd2:
    case SYS_getrusage:
      return true;
    default:
      return false;
  }
}

// Of those, the ones that the kernel answers at once: no other thread is woken for them.
bool Process::is_done_at_once(long number) {
  switch (number) {
    case SYS_lseek:
    case SYS_getppid:
    case SYS_getuid:
    case SYS_geteuid:
    case SYS_getgid:
    case SYS_getegid:
    case SYS_epoll_ctl:
    case SYS_eventfd2:
    case SYS_getrusage:
      return true;
    default:
      return false;
  }
}

// The memory in the order of the pointers, each with its length; only what goes in has bytes.
long Process::send_with_data(GuestThread& thread, const Call& original, const Call& call, const CallSpec& spec,
                             std::array<std::vector<std::byte>, 4>& buffers) {
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kDataCall};
  request.words[0] = static_cast<std::uint64_t>(thread.guest_tid);
  request.words[1] = static_cast<std::uint64_t>(call.number);
  for (std::size_t i = 0; i < 6; ++i) request.words[2 + i] = static_cast<std::uint64_t>(call.arguments[i]);
  std::vector<std::byte> data;
  for (std::size_t i = 0; i < spec.pointers.size(); ++i) {
    const PointerArgument& p = spec.pointers[i];
    if (p.direction == Direction::kNone || argument(original, p.argument) == 0) continue;
    const auto length = static_cast<std::uint32_t>(buffers[i].size());
    const auto* const bytes = reinterpret_cast<const std::byte*>(&length);
    data.insert(data.end(), bytes, bytes + sizeof length);
    if (p.direction != Direction::kOut) data.insert(data.end(), buffers[i].begin(), buffers[i].end());
  }
  std::vector<std::byte> answer;
  const long result = ask_home(thread, request, data, &answer);
  // Back come those that go out, whole, one behind the other.
  std::size_t at = 0;
  for (std::size_t i = 0; i < spec.pointers.size(); ++i) {
    const PointerArgument& p = spec.pointers[i];
    if ((p.direction != Direction::kOut && p.direction != Direction::kInOut) || argument(original, p.argument) == 0)
      continue;
    const std::size_t length = std::min(buffers[i].size(), answer.size() - std::min(at, answer.size()));
    if (length != 0) std::memcpy(buffers[i].data(), answer.data() + at, length);
    at += length;
  }
  return result;
}

// At the home, on a proxy; for calls that are done at once, on the poller (no thread).
long Process::serve_with_data(GuestThread* thread, const Call& original, std::span<const std::byte> data,
                              std::vector<std::byte>& answer) {
  const CallSpec* const spec = call_spec(original.number);
  if (spec == nullptr || !travels_with_data(original)) return -ENOSYS;
  if (names_descriptor(original.number) && (is_runtime_descriptor(original.arguments[0]) ||
                                            is_mapping_descriptor(static_cast<int>(original.arguments[0])))) {
    return -EBADF;
  }
  Call call = original;
  std::array<std::vector<std::byte>, 4> buffers;
  for (std::size_t i = 0; i < spec->pointers.size(); ++i) {
    const PointerArgument& p = spec->pointers[i];
    if (p.direction == Direction::kNone || argument(original, p.argument) == 0) continue;
    std::uint32_t length = 0;
    if (data.size() < sizeof length) return -EIO;
    std::memcpy(&length, data.data(), sizeof length);
    data = data.subspan(sizeof length);
    const bool goes_in = p.direction != Direction::kOut;
    if (length > 2 * kMostTravelling || (goes_in && data.size() < length)) return -EIO;
    buffers[i].resize(std::max<std::size_t>(length, 1));
    if (goes_in) {
      std::memcpy(buffers[i].data(), data.data(), length);
      data = data.subspan(length);
    }
    call.arguments[p.argument] = reinterpret_cast<long>(buffers[i].data());
  }
  const long result = kernel(thread, *spec, call);
  for (std::size_t i = 0; i < spec->pointers.size() && result >= 0; ++i) {
    const PointerArgument& p = spec->pointers[i];
    if (p.direction != Direction::kOut && p.direction != Direction::kInOut) continue;
    answer.insert(answer.end(), buffers[i].begin(), buffers[i].end());
  }
  return result;
}

long Process::vectors(GuestThread* thread, const Call& call) {
  const std::uint64_t count = argument(call, 2);
  if (count > IOV_MAX) return -EINVAL;
  std::vector<iovec> parts(count);
  if (!copy_in(parts.data(), argument(call, 1), count * sizeof(iovec))) return -EFAULT;
  std::size_t bytes = 0;
  for (iovec& part : parts)
    bytes += part.iov_len = std::min<std::size_t>(part.iov_len, kMostBytes - std::min(bytes, kMostBytes));
  std::vector<std::byte> buffer(std::max<std::size_t>(bytes, 1));
  const bool reads = call.number == SYS_readv || call.number == SYS_preadv;
  const bool at_offset = call.number == SYS_preadv || call.number == SYS_pwritev;
  std::size_t at = 0;
  for (const iovec& part : parts) {
    if (!reads && !copy_in(buffer.data() + at, reinterpret_cast<std::uint64_t>(part.iov_base), part.iov_len))
      return -EFAULT;
    at += part.iov_len;
  }
  const long number = reads ? (at_offset ? SYS_pread64 : SYS_read) : (at_offset ? SYS_pwrite64 : SYS_write);
  Call plain{.number = number,
             .arguments = {call.arguments[0], reinterpret_cast<long>(buffer.data()), static_cast<long>(bytes),
                           at_offset ? call.arguments[3] : 0}};
  const long result = kernel(thread, {.blocks = true}, plain);
  std::size_t left = reads && result > 0 ? static_cast<std::size_t>(result) : 0;
  at = 0;
  for (const iovec& part : parts) {
    const std::size_t length = std::min(left, part.iov_len);
    if (length != 0 && !copy_out(reinterpret_cast<std::uint64_t>(part.iov_base), buffer.data() + at, length))
      return -EFAULT;
    at += part.iov_len;
    left -= length;
  }
  return result;
}

long Process::messages(GuestThread* thread, const Call& call) {
  msghdr guest;
  if (!copy_in(&guest, argument(call, 1), sizeof guest)) return -EFAULT;
  if (guest.msg_iovlen > IOV_MAX) return -EMSGSIZE;
  std::vector<iovec> parts(guest.msg_iovlen);
  if (!copy_in(parts.data(), reinterpret_cast<std::uint64_t>(guest.msg_iov), parts.size() * sizeof(iovec)))
    return -EFAULT;
  std::size_t bytes = 0;
  for (iovec& part : parts)
    bytes += part.iov_len = std::min<std::size_t>(part.iov_len, kMostBytes - std::min(bytes, kMostBytes));
  const bool sends = call.number == SYS_sendmsg;
  std::vector<std::byte> buffer(std::max<std::size_t>(bytes, 1));
  std::vector<std::byte> name(std::min<std::size_t>(guest.msg_namelen, 256)),
      control(std::min<std::size_t>(guest.msg_controllen, 64 << 10));
  if (guest.msg_name == nullptr) name.clear();
  if (guest.msg_control == nullptr) control.clear();
  if (sends) {
    std::size_t at = 0;
    for (const iovec& part : parts) {
      if (!copy_in(buffer.data() + at, reinterpret_cast<std::uint64_t>(part.iov_base), part.iov_len)) return -EFAULT;
      at += part.iov_len;
    }
    if (!copy_in(name.data(), reinterpret_cast<std::uint64_t>(guest.msg_name), name.size()) ||
        !copy_in(control.data(), reinterpret_cast<std::uint64_t>(guest.msg_control), control.size()))
      return -EFAULT;
  }
  iovec whole{buffer.data(), bytes};
  msghdr own{};
  own.msg_name = name.empty() ? nullptr : name.data();
  own.msg_namelen = static_cast<socklen_t>(name.size());
  own.msg_iov = &whole;
  own.msg_iovlen = 1;
  own.msg_control = control.empty() ? nullptr : control.data();
  own.msg_controllen = control.size();
  own.msg_flags = guest.msg_flags;
  const Call plain{.number = call.number,
                   .arguments = {call.arguments[0], reinterpret_cast<long>(&own), call.arguments[2]}};
  const long result = kernel(thread, {.blocks = true}, plain);
  if (sends || result < 0) return result;
  std::size_t left = std::min<std::size_t>(static_cast<std::size_t>(result), bytes), at = 0;
  for (const iovec& part : parts) {
    const std::size_t length = std::min(left, part.iov_len);
    if (length != 0 && !copy_out(reinterpret_cast<std::uint64_t>(part.iov_base), buffer.data() + at, length))
      return -EFAULT;
    at += length;
    left -= length;
  }
  if (!copy_out(reinterpret_cast<std::uint64_t>(guest.msg_name), name.data(),
                std::min<std::size_t>(name.size(), own.msg_namelen)) ||
      !copy_out(reinterpret_cast<std::uint64_t>(guest.msg_control), control.data(),
                std::min(control.size(), own.msg_controllen)))
    return -EFAULT;
  guest.msg_namelen = own.msg_namelen;
  guest.msg_controllen = own.msg_controllen;
  guest.msg_flags = own.msg_flags;
  return store(argument(call, 1), guest) ? result : -EFAULT;
}

// Calls that return bytes whose room and length are in a word of their own.
long Process::socket_address(GuestThread* thread, const Call& original) {
  Call call = original;
  const bool receives = call.number == SYS_recvfrom;
  const int value = call.number == SYS_getsockopt ? 3 : receives ? 4 : 1;
  const std::uint64_t value_at = argument(original, value), length_at = argument(original, value + 1);
  socklen_t length = 0;
  std::vector<std::byte> address, bytes;
  if (value_at != 0) {
    if (!copy_in(&length, length_at, sizeof length)) return -EFAULT;
    address.resize(std::clamp<std::size_t>(length, 1, 64 << 10));
    length = std::min<socklen_t>(length, 64 << 10);
    call.arguments[value] = reinterpret_cast<long>(address.data());
    call.arguments[value + 1] = reinterpret_cast<long>(&length);
  }
  const std::size_t room = address.empty() ? 0 : length;
  if (receives) {
    bytes.resize(std::clamp<std::size_t>(argument(original, 2), 1, kMostBytes));
    call.arguments[1] = reinterpret_cast<long>(bytes.data());
    call.arguments[2] = static_cast<long>(std::min<std::size_t>(argument(original, 2), kMostBytes));
  }
  const bool blocks = receives || call.number == SYS_accept || call.number == SYS_accept4;
  const long result = kernel(thread, {.blocks = blocks}, call);
  if (result < 0) return result;
  if (receives && !copy_out(argument(original, 1), bytes.data(),
                            std::min<std::size_t>(bytes.size(), static_cast<std::size_t>(result))))
    return -EFAULT;
  if (value_at == 0) return result;
  const bool stored =
      copy_out(value_at, address.data(), std::min<std::size_t>(room, length)) && store(length_at, length);
  return stored ? result : -EFAULT;
}

// The sizes of most requests are not known; what the kernel changed comes back.
long Process::device_control(GuestThread* thread, const Call& original) {
  const std::uint64_t at = argument(original, 2);
  if (!in_guest(at)) return kernel(thread, {}, original);
  std::byte before[256], after[256];
  std::size_t length = std::min<std::size_t>(sizeof before, kPageBytes - at % kPageBytes);
  if (!copy_in(before, at, length)) return -EFAULT;
  std::memcpy(after, before, length);
  Call call = original;
  call.arguments[2] = reinterpret_cast<long>(after);
  const long result = kernel(thread, {}, call);
  while (length > 0 && before[length - 1] == after[length - 1]) --length;
  return length == 0 || copy_out(at, after, length) ? result : -EFAULT;
}

long Process::descriptor_control(GuestThread* thread, const Call& call) {
  switch (call.arguments[1]) {
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
      return pass_on(thread, call,
                     {.blocks = true,
                      .pointers = {PointerArgument{
                          .direction = Direction::kInOut, .argument = 2, .bytes = sizeof(struct flock)}}});
    default:
      return pass_on(thread, call, {});
  }
}

long Process::select_with_mask(GuestThread* thread, const Call& call) {
  struct Mask {
    std::uint64_t at, bytes;
  } given{};
  std::uint64_t mask = 0;
  if (argument(call, 5) != 0 && !copy_in(&given, argument(call, 5), sizeof given)) return -EFAULT;
  if (given.at != 0 && !copy_in(&mask, given.at, sizeof mask)) return -EFAULT;
  Call own = call;
  Mask passed{reinterpret_cast<std::uint64_t>(&mask), 8};
  own.arguments[5] = given.at != 0 ? reinterpret_cast<long>(&passed) : 0;
  const auto set = [](std::uint8_t i) {
    return PointerArgument{.direction = Direction::kInOut, .argument = i, .bytes = 128};
  };
  return pass_on(thread, own,
                 {.blocks = true,
                  .pointers = {set(1), set(2), set(3),
                               PointerArgument{.direction = Direction::kInOut, .argument = 4, .bytes = 16}}});
}

}  // namespace gallocy::personality
