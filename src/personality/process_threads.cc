// Threads of the program: where they run, how they begin and end.
#include <asm/prctl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/check.h"
#include "personality/guest_memory.h"
#include "personality/process.h"

namespace gallocy::personality {

// Filled by the new thread; whoever made it waits for that.
struct StartReport {
  runtime::WaitFlag flag;
  long result = 0;
};

namespace {

constexpr std::size_t kOwnStackBytes = 256 << 10;  // of the runtime; the program's stack is the program's affair
constexpr std::uint64_t kThreadFlags = CLONE_VM | CLONE_THREAD;

struct CloneArguments {
  std::uint64_t flags = 0, pidfd = 0, child_tid = 0, parent_tid = 0, exit_signal = 0, stack = 0, stack_size = 0,
                tls = 0;
};

}  // namespace

// clone and clone3. The new thread goes on behind the system call, with rax 0, as natively.
long Process::clone(GuestThread& thread, const Call& call, const ucontext_t& context) {
  CloneArguments a;
  std::uint64_t sp = 0;
  if (call.number == SYS_fork || call.number == SYS_vfork) {
    // No arguments.
  } else if (call.number == SYS_clone3) {
    const auto size = static_cast<std::uint64_t>(call.arguments[1]);
    if (size < 64) return -EINVAL;
    if (!copy_in(&a, static_cast<std::uint64_t>(call.arguments[0]), std::min<std::uint64_t>(size, sizeof a)))
      return -EFAULT;
    sp = a.stack + a.stack_size;
  } else {
    a.flags = static_cast<std::uint64_t>(call.arguments[0]) & ~std::uint64_t{0xff};
    sp = static_cast<std::uint64_t>(call.arguments[1]);
    a.parent_tid = static_cast<std::uint64_t>(call.arguments[2]);
    a.child_tid = static_cast<std::uint64_t>(call.arguments[3]);
    a.tls = static_cast<std::uint64_t>(call.arguments[4]);
  }
  if (call.number == SYS_vfork) a.flags = CLONE_VM | CLONE_VFORK;
  if (call.number == SYS_vfork || call.number == SYS_fork) sp = 0;
  ThreadStart start;
  std::memcpy(start.registers.general, context.uc_mcontext.gregs, sizeof start.registers.general);
  start.registers.general[REG_RSP] = static_cast<greg_t>(sp);
  start.registers.general[REG_RAX] = 0;
  start.registers.fs = (a.flags & CLONE_SETTLS) != 0 ? a.tls : thread.guest_fs;
  start.registers.mxcsr = context.uc_mcontext.fpregs->mxcsr;
  start.registers.x87_control = context.uc_mcontext.fpregs->cwd;
  start.mask = thread.guest_mask;
  start.affinity = affinity_set(thread.guest_tid);
  if ((a.flags & CLONE_PARENT_SETTID) != 0) start.parent_tid = a.parent_tid;
  if ((a.flags & CLONE_CHILD_SETTID) != 0) start.child_tid = a.child_tid;
  if ((a.flags & CLONE_CHILD_CLEARTID) != 0) start.clear_tid = a.child_tid;
  if ((a.flags & kThreadFlags) != kThreadFlags) {
    if (sp == 0) start.registers.general[REG_RSP] = context.uc_mcontext.gregs[REG_RSP];
    start.registers.fs = thread.guest_fs;
    const bool borrows = (a.flags & (CLONE_VM | CLONE_VFORK)) == (CLONE_VM | CLONE_VFORK) && is_home();
    const long child = borrows ? lend_memory(thread, start) : fork_anywhere(start, (a.flags & CLONE_VFORK) != 0);
    if (child > 0 && start.parent_tid != 0) (void)store(start.parent_tid, static_cast<int>(child));
    return child;
  }
  return start_thread(place_thread(thread, start.belongs_on), start);
}

long Process::fork_anywhere(const ThreadStart& start, bool waits) {
  if (is_home()) return fork_process(start, waits);
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kFork, .words = {waits ? 1u : 0u}};
  return questions_.ask(kHome, request, std::as_bytes(std::span(&start, 1)));
}

long Process::start_thread(NodeId node, const ThreadStart& start) {
  if (node == self_) return start_thread_here(start);
  note_threads_elsewhere();
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kStart};
  return questions_.ask(node, request, std::as_bytes(std::span(&start, 1)));
}

// Its id, or an error.
long Process::start_thread_here(const ThreadStart& start) {
  return make_thread([this, start](StartReport& report) { run_thread(start, report); });
}

// A kernel thread for one of the program's. What `body` reports.
long Process::make_thread(std::function<void(StartReport&)> body) {
  struct Job {
    std::function<void(StartReport&)> body;
    StartReport* report;
  };
  StartReport report;
  const std::uint64_t mask = block_signals();  // of the new thread, until it enters the program
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, kOwnStackBytes);
  ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t made;
  auto* const job = new Job{std::move(body), &report};
  const auto run = [](void* raw) -> void* {
    const std::unique_ptr<Job> own(static_cast<Job*>(raw));
    own->body(*own->report);
    return nullptr;
  };
  const int error = ::pthread_create(&made, &attributes, run, job);
  ::pthread_attr_destroy(&attributes);
  set_signal_mask(mask);
  if (error != 0) {
    delete job;
    return -error;
  }
  report.flag.sleep(os::kNoDeadline);
  return report.result;
}

// From here on the report may be gone.
void Process::report_start(StartReport& report, long result) {
  report.result = result;
  report.flag.set();
}

void Process::enlist(GuestThread& thread, std::uint64_t stack) {
  threads_started_.fetch_add(1);
  if (thread.guest_tid == 0) thread.guest_tid = thread.tid | self_.value << kTidNodeShift;
  if (thread.belongs_on == kNoNode) thread.belongs_on = self_;
  if (nodes_ > 1) thread.lock_counts = held_locks_.counts();
  if (!options_.trace_file.empty()) thread.trace = traces_.begin(thread.guest_tid);
  thread.active.began_ns = os::monotonic_ns();
  thread.active.paused_ns = 0;
  thread.active.processor_began_ns = os::thread_processor_ns();
  thread.fault_ns = 0;
  thread.helper_watch = HelperWatch(thread.active.began_ns);
  const os::MutexLock lock(threads_mu_);
  threads_[thread.guest_tid] = &thread;
  away_.erase(thread.guest_tid);
  constexpr std::size_t kMostStacks = 10'000;
  if (options_.report && stacks_.size() < kMostStacks) stacks_.push_back({stack, thread.guest_tid});
}

// The thread stops being one of this node's.
void Process::withdraw(GuestThread& thread) {
  if (thread.trace != nullptr) traces_.end(*std::exchange(thread.trace, nullptr));
  let_held_pages_go(thread);
  const os::MutexLock lock(threads_mu_);
  active_ns_ += thread.active.total_ns(os::monotonic_ns());
  processor_ns_ += os::thread_processor_ns() - thread.active.processor_began_ns;
}

void Process::delist(GuestThread& thread) {
  withdraw(thread);
  {
    const os::MutexLock lock(threads_mu_);
    threads_.erase(thread.guest_tid);
    affinities_.erase(thread.guest_tid);
  }
  const NodeId origin = origin_of(thread.guest_tid);
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kEnded,
                             .words = {static_cast<std::uint64_t>(thread.guest_tid)}};
  if (is_home() && thread.guest_tid != home_pid_) forget_policy(thread.guest_tid);  // that one's is the others', too
  if (!is_home()) questions_.post(kHome, request);
  if (origin != self_ && origin != kHome) questions_.post(origin, request);
}

// A thread of another node. On the poller.
void Process::thread_ended(int guest_tid) {
  (void)unpark(guest_tid, {});
  if (!is_home()) return;
  if (guest_tid != home_pid_) forget_policy(guest_tid);
  proxies_.end(guest_tid);
}

void Process::run_thread(const ThreadStart& start, StartReport& report) {
  GuestThread thread;
  const ThreadStart own = start;
  if (auto ready = prepare_guest_thread(thread); !ready) {
    return report_start(report, -EAGAIN);
  }
  hide_features();
  thread.traps_only = 0;
  thread.guest_mask = own.mask;
  thread.clear_tid = own.clear_tid;
  thread.guest_tid = own.guest_tid;
  thread.belongs_on = own.belongs_on;
  if (own.guest_tid != 0) ::prctl(PR_SET_NAME, program_name_.c_str());
  enlist(thread, static_cast<std::uint64_t>(own.registers.general[REG_RSP]));
  if (ProcessorMask inherited = own.affinity; !inherited.empty())
    (void)affinity_here(thread.guest_tid, true, inherited);
  if (own.parent_tid != 0) (void)store(own.parent_tid, thread.guest_tid);
  if (own.child_tid != 0) (void)store(own.child_tid, thread.guest_tid);
  report_start(report, thread.guest_tid);
  if (::_setjmp(thread.end) == 0) enter_guest(thread, own.registers);
  forget_guest_thread();
}

// The system call exit. What the kernel does for a thread's memory at its end (mm_release, exit_robust_list) is done
// here, as it may lie on other nodes.
void Process::end_thread(GuestThread& thread) {
  release_robust_locks(thread);
  delist(thread);
  if (thread.clear_tid != 0 && store(thread.clear_tid, std::uint32_t{0})) (void)wake_address(thread.clear_tid, 1);
  ::_longjmp(thread.end, 1);
}

// Without the traces that a thread's end leaves in memory: that is another program's now.
void Process::end_thread_quietly(GuestThread& thread) {
  delist(thread);
  ::_longjmp(thread.end, 1);
}

bool Process::end_other_threads(int guest_tid) {
  // Or one that moves would be overlooked: none leaves any more, and then those that left have arrived.
  bool done = hold_all_threads(true) && hold_all_threads(true);
  for (std::uint16_t n = 0; n < nodes_ && done; ++n) {
    if (NodeId{n} == self_) continue;
    wire::GuestRequest request{.kind = wire::GuestRequestKind::kEndThreads,
                               .words = {static_cast<std::uint64_t>(guest_tid)}};
    done = questions_.ask(NodeId{n}, request) == 0;
  }
  done = done && end_threads_here(guest_tid);
  (void)hold_all_threads(false);
  return done;
}

// False: one does not end, for instance because it waits for a disk.
bool Process::end_threads_here(int but_guest_tid) {
  constexpr int kTries = 2000;
  for (int i = 0; i < kTries; ++i) {
    {
      const os::MutexLock lock(threads_mu_);
      bool any = false;
      for (const auto& [tid, other] : threads_) {
        if (tid == but_guest_tid) continue;
        any = true;
        other->must_end.store(true);
        other->signal_pending.store(1);
        interrupt_at_home(*other);
        raw_system_call(SYS_tkill, other->tid, kKickSignal);
      }
      if (!any) return true;
    }
    ::usleep(1000);
  }
  return false;
}

// Documentation/locking/robust-futexes.rst.
void Process::release_robust_locks(GuestThread& thread) {
  struct Head {
    std::uint64_t next;
    std::int64_t offset;
    std::uint64_t pending;
  };
  if (thread.robust_list == 0) return;
  const auto head = load<Head>(thread.robust_list);
  if (!head) return;
  const auto release = [&](std::uint64_t entry) {
    const std::uint64_t address = (entry & ~std::uint64_t{1}) + static_cast<std::uint64_t>(head->offset);
    const auto word = load<std::uint32_t>(address);
    if (!word || (*word & FUTEX_TID_MASK) != static_cast<std::uint32_t>(thread.guest_tid)) return;
    (void)store(address, (*word & FUTEX_WAITERS) | FUTEX_OWNER_DIED);
    (void)wake_address(address, 1);
  };
  constexpr int kMostLocks = 2048;  // ROBUST_LIST_LIMIT
  std::uint64_t entry = head->next;
  for (int i = 0; i < kMostLocks && (entry & ~std::uint64_t{1}) != thread.robust_list; ++i) {
    const auto next = load<std::uint64_t>(entry & ~std::uint64_t{1});
    if ((entry & ~std::uint64_t{1}) != (head->pending & ~std::uint64_t{1})) release(entry);
    if (!next) break;
    entry = *next;
  }
  if (head->pending != 0) release(head->pending);
}

// exit_group, from any thread of any node.
void Process::exit_process(int status) {
  if (ending_.exchange(true)) {
    for (;;) ::pause();
  }
  leave(status);
}

// At the home, when the program has ended in whichever way.
void Process::finish() {
  write_back_all();
  view_.reset();  // its files
  std::error_code ignored;
  std::filesystem::remove_all(view_directory(), ignored);
  if (options_.report) report();
  finish_trace();
}

// Tells the others, and ends this node's part.
void Process::leave(int status) {
  if (is_home()) finish();
  for (std::uint16_t n = 0; n < nodes_; ++n) {
    if (NodeId{n} == self_) continue;
    wire::GuestRequest request{.kind = wire::GuestRequestKind::kExit,
                               .words = {static_cast<std::uint64_t>(static_cast<unsigned>(status))}};
    questions_.post(NodeId{n}, request);
  }
  runtime_.leave_at_once(is_home() ? status & 0xff : 0);
}

}  // namespace gallocy::personality
