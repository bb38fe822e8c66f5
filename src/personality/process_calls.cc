// Which part serves a system call.
#include <asm/prctl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "personality/guest_memory.h"
#include "personality/patched_entry.h"
#include "personality/process.h"

namespace gallocy::personality {
// Calls that look at the program's registers or change more of them than the result. The others need no signal frame.
bool Process::needs_frame(long number) {
  switch (number) {
    case SYS_clone:
    case SYS_clone3:
    case SYS_fork:
    case SYS_vfork:
    case SYS_execve:
    case SYS_exit:
    case SYS_exit_group:
    case SYS_rt_sigprocmask:
    case SYS_sigaltstack:
    case SYS_rt_sigreturn:
    case SYS_rt_sigpending:
    case SYS_rt_sigsuspend:
    case SYS_rt_sigtimedwait:
    case SYS_pause:
    case SYS_arch_prctl:
      return true;
    default:
      return false;
  }
}

// Whether a call that has failed with EINTR is to be made again after the signal's handler.
bool Process::is_repeated(GuestThread& thread, long number) {
  const CallSpec* const spec = call_spec(number);
  const bool restartable = (spec != nullptr && spec->restarts) || number == SYS_futex || number == SYS_readv ||
                           number == SYS_writev || number == SYS_recvmsg || number == SYS_sendmsg ||
                           number == SYS_accept || number == SYS_accept4 || number == SYS_recvfrom;
  return restartable && thread.signal_pending.load() != 0 && restarts(thread);
}

void Process::system_call(GuestThread& thread, int number, ucontext_t& context) {
  if (number == kLeavePatchedCall && finish_leaving(context)) return leave_patched_call(thread, context);
  greg_t* const r = context.uc_mcontext.gregs;
  const Call call{.number = number,
                  .arguments = {r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9]}};
  r[REG_RAX] = -ENOSYS;
  const std::uint64_t call_at = static_cast<std::uint64_t>(r[REG_RIP]) - kCallBytes;
  const std::int64_t begin_ns = trace_time(thread);
  const long result = serve(thread, call, context);
  r[REG_RAX] = result;
  trace_call(thread, call, result, begin_ns);
  if (thread.must_end.load()) end_thread_quietly(thread);
  if (result == -EINTR && is_repeated(thread, number)) {
    r[REG_RAX] = number;
    r[REG_RIP] -= kCallBytes;
  }
  if (patching_ && thread.traps_only == 0 && !needs_frame(number)) count_trap(call_at, number);
  // Delivered when the handler has returned.
  const bool kicked = thread.signal_pending.load() != 0 || thread.move_to.load() != kNoNode.value;
  if (kicked) raw_system_call(SYS_tkill, thread.tid, kKickSignal);
}

long Process::serve(GuestThread& thread, const Call& call, ucontext_t& context) {
  if (thread.in_vfork_child) return serve_borrower(thread, call, context);
  return needs_frame(call.number) ? serve_with_frame(thread, call, context) : serve_plain(thread, call);
}

long Process::serve_with_frame(GuestThread& thread, const Call& call, ucontext_t& context) {
  switch (call.number) {
    case SYS_clone:
    case SYS_clone3:
    case SYS_fork:
    case SYS_vfork:
      return clone(thread, call, context);
    case SYS_execve:
      if (const long failed = execute(thread, call, context); failed != 0) return failed;
      return context.uc_mcontext.gregs[REG_RAX];
    case SYS_exit:
      end_thread(thread);
    case SYS_exit_group:
      exit_process(static_cast<int>(call.arguments[0]) & 0xff);
    case SYS_pause:
      return interruptible_system_call(thread, SYS_pause);
    case SYS_arch_prctl:
      if (call.arguments[0] == ARCH_SET_FS) return thread.guest_fs = argument(call, 1), 0;
      if (call.arguments[0] == ARCH_GET_FS) return store(argument(call, 1), thread.guest_fs) ? 0 : -EFAULT;
      return -EINVAL;
    default:
      return signal_call(thread, call, context);
  }
}

long Process::serve_plain(GuestThread& thread, const Call& call) {
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
    case kReleaseCall:
      return let_page_go(argument(call, 0));
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
    case SYS_sched_getaffinity:
    case SYS_sched_setaffinity:
      return affinity_call(thread, call);
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
    case SYS_getrusage:
    case SYS_clock_getres:
    case SYS_clock_gettime:
    case SYS_clock_nanosleep:
      if (const long result = usage_call(thread, call); result != -ENOSYS) return result;
      break;
    case SYS_prctl:
      switch (call.arguments[0]) {
        case PR_SET_NAME:
        case PR_GET_NAME:
          return thread_name(thread, call);
        case PR_SET_TIMERSLACK:
        case PR_GET_TIMERSLACK:
          return raw_system_call(SYS_prctl, call.arguments[0], call.arguments[1]);
        default:
          break;
      }
      break;
    case SYS_getpriority:
    case SYS_setpriority:  // of the calling thread; its proxy has another
      if (call.arguments[0] != PRIO_PROCESS || call.arguments[1] != 0) break;
      return raw_system_call(call.number, PRIO_PROCESS, 0, call.arguments[2]);
    default:
      break;
  }
  const CallSpec* const spec = call_spec(call.number);
  if (spec != nullptr && spec->place == CallPlace::kHere) return pass_on(&thread, call, *spec);
  if (is_home()) return serve_at_home(&thread, call);
  if (spec != nullptr && travels_with_data(call, *spec)) return pass_on(&thread, call, *spec);
  if (is_vector_call(call.number)) return vectors(&thread, call);
  return send_home(thread, call);
}

// The home makes the call with the same pointers: what they point to comes to it page by page.
long Process::send_home(GuestThread& thread, const Call& call) {
  wire::GuestRequest request = request_for(wire::GuestRequestKind::kCall, thread, call);
  return with_pipe_signal(thread, call, ask_home(thread, request));
}

long Process::serve_at_home(GuestThread* thread, const Call& call) {
  if (names_descriptor(call.number) && descriptors_.is_runtimes(call.arguments[0])) return -EBADF;
  if (is_vector_call(call.number)) return vectors(thread, call);
  switch (call.number) {
    case SYS_mmap:
    case SYS_munmap:
    case SYS_mprotect:
    case SYS_mremap:
    case SYS_brk:
    case SYS_madvise:
    case SYS_msync: {
      const long result = memory_call(call);
      place_new_memory(thread, call, result);
      return result;
    }
    case SYS_execve:
      return execute_at_home(*thread, call);
    case SYS_futex:
      return futex(*thread, call);
    case SYS_get_mempolicy:
    case SYS_set_mempolicy:
    case SYS_mbind:
    case SYS_move_pages:
    case SYS_migrate_pages:
      return policy_call(thread, call);
    case SYS_sysinfo:
      return system_information(call);
    case SYS_open:
    case SYS_openat:
      if (const long fd = open_own(thread, call); fd != -ENOSYS) return fd;
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
      return timers_.call(call);
    case SYS_mincore:
      return residency(call);
    case SYS_sendmmsg:
    case SYS_recvmmsg:
      return many_messages(thread, call);
    case SYS_times:
      return process_times(call);
    case SYS_getrlimit:
    case SYS_setrlimit:
    case SYS_prlimit64:
      if (call.number == SYS_prlimit64 && !is_own_id(call.arguments[0])) break;
      if (const long result = descriptors_.limit_call(call); result != -ENOSYS) return result;
      break;
    case SYS_mlock:
    case SYS_mlock2:
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
      if (descriptors_.is_runtimes(call.arguments[1])) return -EBADF;
      break;
    case SYS_close_range:
      return descriptors_.close_range(call);
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
        case PR_SET_NAME:
        case PR_GET_NAME:
          return proxy_name(call);
        case PR_SET_DUMPABLE:
        case PR_GET_DUMPABLE:
        case PR_SET_NO_NEW_PRIVS:
        case PR_GET_NO_NEW_PRIVS:
        case PR_SET_PDEATHSIG:
        case PR_CAPBSET_READ:
        case PR_GET_KEEPCAPS:
        case PR_GET_SECCOMP:
        case PR_GET_SECUREBITS:
        case PR_SET_PTRACER:
        case PR_SET_THP_DISABLE:
        case PR_GET_THP_DISABLE:
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

}  // namespace gallocy::personality
