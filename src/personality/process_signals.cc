// Signals of the program: dispositions, masks, delivery. See signal(7).
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/ids.h"
#include "os/signal_hook.h"
#include "personality/guest_memory.h"
#include "personality/patched_entry.h"
#include "personality/process.h"

namespace gallocy::personality {
namespace {

constexpr std::uint64_t bit(int number) { return std::uint64_t{1} << (number - 1); }

bool raised_by_hardware(int number) {
  return number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL || number == SIGTRAP;
}
bool ignored_by_default(int number) {
  return number == SIGCHLD || number == SIGURG || number == SIGWINCH || number == SIGCONT;
}
bool stops_by_default(int number) {
  return number == SIGSTOP || number == SIGTSTP || number == SIGTTIN || number == SIGTTOU;
}
bool is_fault(const siginfo_t& info) { return info.si_code > 0 && info.si_code != SI_KERNEL + 0x1000; }

}  // namespace

GuestAction Process::action(int number) {
  const os::MutexLock lock(actions_mu_);
  return actions_[number];
}

// In the signal handler; see guest_entry.h.
void Process::signal(GuestThread* thread, int number, siginfo_t& info, ucontext_t& context, bool in_guest) {
  const auto address = reinterpret_cast<std::uint64_t>(info.si_addr);
  if (answer_cpuid(info, context)) return;
  if (raised_by_hardware(number) && is_fault(info)) {
    const bool of_runtime = (thread == nullptr || !thread->is_forked_child) && this->in_guest(address);
    const bool bus_error = of_runtime && number == SIGBUS && info.si_code == BUS_ADRERR;
    const std::uint32_t times = limits_.times_of_kernel();
    const bool of_kernel = bus_error && limits_.is_of_kernel(address);
    const bool page_fault = bus_error && !of_kernel;
    if (of_kernel && thread != nullptr && !thread->believes_bus_error(address, times)) return;
    const bool write = (context.uc_mcontext.gregs[REG_ERR] & 2) != 0;
    if (of_runtime && number == SIGSEGV && info.si_code == SEGV_ACCERR && nodes_ > 1) {
      const PageLimits::Use use = write                                ? PageLimits::Use::kWrite
                                  : os::was_instruction_fetch(context) ? PageLimits::Use::kExecute
                                                                       : PageLimits::Use::kRead;
      switch (limits_.judge(address, use)) {
        case PageLimits::Verdict::kOfKernel:
          return;
        case PageLimits::Verdict::kUnread:
          if (read_touched(address, use == PageLimits::Use::kRead)) return;
          number = info.si_signo = SIGBUS;
          info.si_code = BUS_ADRERR;
          break;
        case PageLimits::Verdict::kCommon:
          if (touched_common(thread, context, in_guest)) return;
          number = info.si_signo = SIGBUS;
          info.si_code = BUS_ADRERR;
          break;
        case PageLimits::Verdict::kAllowed:
          // It has become so meanwhile, but that the engine `sigsegv` learns of all faults in this way.
          if ((segv_action_.sa_flags & SA_SIGINFO) == 0) return;
          break;
        case PageLimits::Verdict::kForbidden:
          break;
      }
    }
    const bool may_move = of_runtime && in_guest && (page_fault || info.si_code == SEGV_ACCERR);
    if (may_move && move_if_asked(*thread, context)) return;
    if (page_fault && (bus_action_.sa_flags & SA_SIGINFO) != 0) {
      return serve_fault(bus_action_, thread, number, info, context, write);
    }
    if (of_runtime && number == SIGSEGV && info.si_code == SEGV_ACCERR && (segv_action_.sa_flags & SA_SIGINFO) != 0 &&
        !runtime_.memory().is_beyond_limit(address, write)) {
      return serve_fault(segv_action_, thread, number, info, context, write);
    }
    if ((number == SIGSEGV || number == SIGBUS) && end_failed_copy(context)) return;
    if (in_guest && action(number).has_handler()) return deliver(*thread, {number, info}, context);
    if (in_guest) die_of(*thread, {number, info}, context);
    // A bug of ours: the default action, at this place.
    struct sigaction by_default {};
    by_default.sa_handler = SIG_DFL;
    ::sigaction(number, &by_default, nullptr);
    return;
  }
  if (thread == nullptr) return;  // threads of the runtime block all others
  if (in_guest) leave_stubs(context);
  if (number == kKickSignal) {
    if (in_guest && thread->must_end.load()) end_thread_quietly(*thread);
    if (in_guest) deliver_pending(*thread, context);
    if (in_guest) (void)move_if_asked(*thread, context);
    return;
  }
  if (in_guest) return deliver(*thread, {number, info}, context);
  if (thread->in_patched_call != 0) return defer_signal(*thread, number, info, context);
  queue(*thread, {number, info});
}

void Process::queue(GuestThread& thread, const PendingSignal& signal) {
  const os::MutexLock lock(thread.mu);
  // A standard signal that is pending already is not queued again; of real-time ones at most kMostPending (signal(7)).
  const auto end = thread.pending.begin() + static_cast<std::ptrdiff_t>(thread.pending_count);
  const bool there = std::any_of(thread.pending.begin(), end, [&](const auto& p) { return p.number == signal.number; });
  if ((there && signal.number < 32) || thread.pending_count == GuestThread::kMostPending) return;
  thread.pending[thread.pending_count++] = signal;
  note_pending(thread);
  if (thread.signal_pending.load() != 0) interrupt_at_home(thread);
}

// The call that the home makes for the thread, if any, ends with EINTR.
void Process::interrupt_at_home(const GuestThread& thread) {
  const std::uint64_t call = thread.call_at_home.load();
  if (call == 0) return;
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kInterrupt,
                             .words = {static_cast<std::uint64_t>(thread.guest_tid), call}};
  questions_.post(kHome, request);
}

// signal_pending tells whether there is something that is not blocked.
void Process::note_pending(GuestThread& thread) {
  char any = thread.must_end.load() ? 1 : 0;
  for (std::size_t i = 0; i < thread.pending_count; ++i) {
    const std::uint64_t number = bit(thread.pending[i].number);
    if ((thread.guest_mask & number) == 0 || (thread.awaited & number) != 0) any = 1;
  }
  thread.signal_pending.store(any);
}

// What is pending and not blocked. `context` is the program's.
void Process::deliver_pending(GuestThread& thread, ucontext_t& context) {
  for (;;) {
    PendingSignal signal;
    {
      const os::MutexLock lock(thread.mu);
      std::size_t i = 0;
      while (i < thread.pending_count && (thread.guest_mask & bit(thread.pending[i].number)) != 0) ++i;
      if (i == thread.pending_count) {
        note_pending(thread);
        return;
      }
      signal = thread.pending[i];
      std::move(thread.pending.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                thread.pending.begin() + static_cast<std::ptrdiff_t>(thread.pending_count),
                thread.pending.begin() + static_cast<std::ptrdiff_t>(i));
      --thread.pending_count;
    }
    deliver(thread, signal, context);
  }
}

void Process::deliver(GuestThread& thread, const PendingSignal& signal, ucontext_t& context) {
  GuestAction act = action(signal.number);
  if (act.has_handler() && (act.flags & SA_RESETHAND) != 0) act = take_action(signal.number);
  if (act.handler == reinterpret_cast<std::uint64_t>(SIG_IGN)) return;
  if (const std::int64_t now_ns = trace_time(thread); now_ns != 0) {
    thread.trace->add({.kind = TraceKind::kSignal,
                       .number = signal.number,
                       .begin_ns = now_ns,
                       .end_ns = now_ns,
                       .a = 0,
                       .b = 0,
                       .result = 0});
  }
  if (!act.has_handler()) {
    if (ignored_by_default(signal.number)) return;
    if (stops_by_default(signal.number)) return stop_process();
    die_of(thread, signal, context);
  }
  thread.frames_of_node += is_of_node(context) ? 1 : 0;
  if (!push_signal_frame(thread, act, signal.number, signal.info, context)) die_of(thread, {SIGSEGV, {}}, context);
}

// Should a call that a signal has interrupted be made again after the handler?
bool Process::restarts(GuestThread& thread) {
  const os::MutexLock lock(thread.mu);
  for (std::size_t i = 0; i < thread.pending_count; ++i) {
    const int number = thread.pending[i].number;
    if ((thread.guest_mask & bit(number)) != 0) continue;
    const GuestAction act = action(number);
    if (act.has_handler() && (act.flags & SA_RESTART) == 0) return false;
  }
  return true;
}

long Process::signal_call(GuestThread& thread, const Call& call, ucontext_t& context) {
  const auto first = static_cast<std::uint64_t>(call.arguments[0]),
             second = static_cast<std::uint64_t>(call.arguments[1]),
             third = static_cast<std::uint64_t>(call.arguments[2]);
  const auto apply_mask = [&] {
    const std::uint64_t mask = kernel_mask(thread.guest_mask);
    std::memcpy(&context.uc_sigmask, &mask, sizeof mask);
    const os::MutexLock lock(thread.mu);
    note_pending(thread);
  };
  constexpr std::uint64_t kUnblockable = bit(SIGKILL) | bit(SIGSTOP);
  switch (call.number) {
    case SYS_rt_sigprocmask: {
      const std::uint64_t before = thread.guest_mask;
      if (call.arguments[3] != 8) return -EINVAL;
      if (second != 0) {
        const auto set = load<std::uint64_t>(second);
        if (!set) return -EFAULT;
        switch (call.arguments[0]) {
          case SIG_BLOCK:
            thread.guest_mask |= *set;
            break;
          case SIG_UNBLOCK:
            thread.guest_mask &= ~*set;
            break;
          case SIG_SETMASK:
            thread.guest_mask = *set;
            break;
          default:
            return -EINVAL;
        }
        thread.guest_mask &= ~kUnblockable;
        apply_mask();
      }
      return third != 0 && !store(third, before) ? -EFAULT : 0;
    }
    case SYS_sigaltstack: {
      const stack_t before = thread.guest_stack;
      if (first != 0) {
        const auto stack = load<stack_t>(first);
        if (!stack) return -EFAULT;
        if ((stack->ss_flags & SS_DISABLE) == 0 && stack->ss_size < static_cast<std::size_t>(MINSIGSTKSZ))
          return -ENOMEM;
        thread.guest_stack = *stack;
        if ((stack->ss_flags & SS_DISABLE) != 0)
          thread.guest_stack = {.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
      }
      if (second == 0) return 0;
      stack_t shown = before;
      const auto sp = static_cast<std::uint64_t>(context.uc_mcontext.gregs[REG_RSP]);
      if ((before.ss_flags & SS_DISABLE) == 0 && sp - reinterpret_cast<std::uint64_t>(before.ss_sp) < before.ss_size)
        shown.ss_flags |= SS_ONSTACK;
      return store(second, shown) ? 0 : -EFAULT;
    }
    case SYS_rt_sigreturn:
      if (!pop_signal_frame(thread, context)) die_of(thread, {SIGSEGV, {}}, context);
      apply_mask();
      thread.frames_of_node -= is_of_node(context) && thread.frames_of_node > 0 ? 1 : 0;
      return context.uc_mcontext.gregs[REG_RAX];
    case SYS_rt_sigpending: {
      std::uint64_t set = pending_at_home();
      const os::MutexLock lock(thread.mu);
      for (std::size_t i = 0; i < thread.pending_count; ++i) set |= bit(thread.pending[i].number);
      set &= thread.guest_mask;
      return store(first, set) ? 0 : -EFAULT;
    }
    case SYS_rt_sigsuspend: {
      const auto set = load<std::uint64_t>(first);
      if (!set) return -EFAULT;
      thread.mask_to_restore = thread.guest_mask;
      thread.guest_mask = *set & ~kUnblockable;
      apply_mask();
      interruptible_system_call(thread, SYS_pause);
      context.uc_mcontext.gregs[REG_RAX] = -EINTR;
      deliver_pending(thread, context);
      if (thread.mask_to_restore) thread.guest_mask = *std::exchange(thread.mask_to_restore, std::nullopt);
      apply_mask();
      return context.uc_mcontext.gregs[REG_RAX];
    }
    case SYS_rt_sigtimedwait:
      return wait_for_signal(thread, call);
    default:
      return -ENOSYS;
  }
}

// Those of the process are the home's kernel's.
std::uint64_t Process::pending_at_home() {
  std::uint64_t set = 0;
  if (is_home()) {
    raw_system_call(SYS_rt_sigpending, reinterpret_cast<long>(&set), 8);
    return set;
  }
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kPending};
  std::vector<std::byte> answer;
  (void)questions_.ask(kHome, request, {}, &answer);
  if (answer.size() == sizeof set) std::memcpy(&set, answer.data(), sizeof set);
  return set;
}

// A signal may have been sent to the thread, which is then in `pending`, or to the process: the home's kernel has it.
long Process::wait_for_signal(GuestThread& thread, const Call& call) {
  const auto set = load<std::uint64_t>(static_cast<std::uint64_t>(call.arguments[0]));
  const auto info_at = static_cast<std::uint64_t>(call.arguments[1]);
  if (!set) return -EFAULT;
  for (;;) {
    PendingSignal taken;
    {
      const os::MutexLock lock(thread.mu);
      std::size_t i = 0;
      while (i < thread.pending_count && (*set & bit(thread.pending[i].number)) == 0) ++i;
      if (i < thread.pending_count) {
        taken = thread.pending[i];
        std::move(thread.pending.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                  thread.pending.begin() + static_cast<std::ptrdiff_t>(thread.pending_count),
                  thread.pending.begin() + static_cast<std::ptrdiff_t>(i));
        --thread.pending_count;
        note_pending(thread);
      }
      thread.awaited = taken.number != 0 ? 0 : *set;
    }
    if (taken.number != 0) return info_at != 0 && !store(info_at, taken.info) ? -EFAULT : taken.number;
    long result = 0;
    if (is_home()) {
      result = wait_in_kernel(thread, call);
    } else {
      wire::GuestRequest request = request_for(wire::GuestRequestKind::kCall, thread, call);
      result = ask_home(thread, request);
    }
    const os::MutexLock lock(thread.mu);
    thread.awaited = 0;
    bool came = false;
    for (std::size_t i = 0; i < thread.pending_count; ++i) came = came || (*set & bit(thread.pending[i].number)) != 0;
    note_pending(thread);
    if (result != -EINTR || !came) return result;
  }
}

// At the home; for a thread of another node on its proxy.
long Process::wait_in_kernel(GuestThread& thread, const Call& call) {
  const auto set = load<std::uint64_t>(static_cast<std::uint64_t>(call.arguments[0]));
  const auto info_at = static_cast<std::uint64_t>(call.arguments[1]),
             timeout_at = static_cast<std::uint64_t>(call.arguments[2]);
  timespec timeout{};
  if (!set || (timeout_at != 0 && !copy_in(&timeout, timeout_at, sizeof timeout))) return -EFAULT;
  siginfo_t info{};
  const long got = interruptible_system_call(thread, SYS_rt_sigtimedwait, reinterpret_cast<long>(&*set),
                                             reinterpret_cast<long>(&info),
                                             timeout_at != 0 ? reinterpret_cast<long>(&timeout) : 0, 8);
  return got > 0 && info_at != 0 && !store(info_at, info) ? -EFAULT : got;
}

// rt_sigaction, at the home: all nodes know the new action before the call returns.
long Process::set_action(const Call& call) {
  const long number = call.arguments[0];
  const auto given = static_cast<std::uint64_t>(call.arguments[1]),
             before_at = static_cast<std::uint64_t>(call.arguments[2]);
  if (number < 1 || number > 64 || call.arguments[3] != 8) return -EINVAL;
  const GuestAction before = action(static_cast<int>(number));
  if (given != 0) {
    if (number == SIGKILL || number == SIGSTOP) return -EINVAL;
    const auto now = load<GuestAction>(given);
    if (!now) return -EFAULT;
    publish_action(static_cast<int>(number), *now);
    if (!is_runtime_signal(static_cast<int>(number))) {
      if (now->has_handler() || (now->handler == 0 && catches_end(static_cast<int>(number)))) {
        catch_signal(static_cast<int>(number), static_cast<int>(now->flags & (SA_NOCLDSTOP | SA_NOCLDWAIT)));
      } else {
        struct sigaction plain {};
        plain.sa_handler = now->handler == 1 ? SIG_IGN : SIG_DFL;
        if (::sigaction(static_cast<int>(number), &plain, nullptr) != 0 && number != 32 && number != 33) return -errno;
      }
    }
  }
  return before_at != 0 && !store(before_at, before) ? -EFAULT : 0;
}

void Process::publish_action(int number, const GuestAction& action) {
  {
    const os::MutexLock lock(actions_mu_);
    actions_[number] = action;
  }
  if (nodes_ == 1) return;
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kAction, .words = {static_cast<std::uint64_t>(number)}};
  questions_.ask_all(request, std::as_bytes(std::span(&action, 1)));
}

// To a thread, or to the process (0).
void Process::send_of_timer(int guest_tid, siginfo_t& info) {
  if (guest_tid != 0) {
    (void)send_to_thread(guest_tid, info.si_signo, info);
  } else {
    raw_system_call(SYS_rt_sigqueueinfo, home_pid_, info.si_signo, reinterpret_cast<long>(&info));
  }
}

long Process::send_to_thread(int guest_tid, int number, const siginfo_t& info) {
  if (number < 0 || number > 64) return -EINVAL;
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kSignal,
                             .words = {static_cast<std::uint64_t>(guest_tid), static_cast<std::uint64_t>(number)}};
  const auto here = [&] { return deliver_here(guest_tid, {number, info}); };
  return ask_about_thread(guest_tid, request, std::as_bytes(std::span(&info, 1)), here);
}

// On any thread, the poller too.
long Process::deliver_here(int guest_tid, const PendingSignal& signal) {
  const os::MutexLock lock(threads_mu_);
  const auto found = threads_.find(guest_tid);
  if (found == threads_.end()) return -ESRCH;
  if (signal.number == 0) return 0;
  queue(*found->second, signal);
  raw_system_call(SYS_tkill, found->second->tid, kKickSignal);
  return 0;
}

}  // namespace gallocy::personality
