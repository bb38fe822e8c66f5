// The border between the guest (the unmodified program that `gallocy run` executes) and the runtime.
//
// A guest thread is one of the runtime's own threads that runs the program's code. While it does, its fs register is
// the program's (its C library keeps thread-local data there), and its gs register points to its GuestThread. Every
// system call of the program traps with SIGSYS (Syscall User Dispatch, Linux 5.11:
// Documentation/admin-guide/syscall-user-dispatch.rst); the stubs in guest_entry.cc then switch to the runtime's fs, so
// that what they call is ordinary C++: it may allocate, use thread-local data and errno, and take locks.
//
// Signal frames of the kernel are pushed on a private alternate stack, never on the program's, which lies in coherent
// memory. Signals for the program are delivered by signal_frame.h.
//
// Programs that use the gs register themselves cannot run.
#pragma once

#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "base/ids.h"
#include "base/result.h"
#include "os/mutex.h"
#include "personality/guest_clock.h"
#include "personality/helper_watch.h"
#include "personality/trace_ring.h"
#include "runtime/waiting.h"

namespace gallocy::personality {

// What a thread's code sees of itself at its start, as the clone system call gives it to the new thread.
struct GuestRegisters {
  greg_t general[23] = {};  // as in ucontext_t
  std::uint64_t fs = 0;
  std::uint32_t mxcsr = 0x1f80;
  std::uint16_t x87_control = 0x37f;
};

// How long a thread has been neither asleep nor in a system call that may sleep. Written by the thread itself.
struct ActiveTime {
  std::atomic<std::int64_t> began_ns{0}, paused_ns{0}, pause_began_ns{0};
  std::int64_t processor_began_ns = 0;  // of its kernel thread

  std::int64_t total_ns(std::int64_t now_ns) const {
    const std::int64_t pause = pause_began_ns.load(std::memory_order_relaxed);
    return (pause != 0 ? pause : now_ns) - began_ns.load(std::memory_order_relaxed) -
           paused_ns.load(std::memory_order_relaxed);
  }
};

// A pause of it. They may nest.
class Pause {
 public:
  explicit Pause(ActiveTime& time);
  ~Pause();
  Pause(const Pause&) = delete;
  Pause& operator=(const Pause&) = delete;

 private:
  ActiveTime* const time_;  // null: within another
};

struct PatchedFrame;

struct PendingSignal {
  int number = 0;
  siginfo_t info{};
};

// The first fields are known to the stubs (guest_entry.cc checks their places).
struct GuestThread {
  GuestThread* self = this;
  std::uint64_t runtime_fs = 0;
  std::uint64_t guest_fs = 0;
  volatile char selector = 0;            // Syscall User Dispatch: 0 lets system calls pass, 1 traps them
  volatile char in_patched_call = 0;     // inside the runtime without a signal frame (patched_entry.h)
  std::atomic<char> signal_pending{0};   // there is something in `pending`
  std::atomic<char> signal_deferred{0};  // a patched call is to return through a trap
  char traps_only = 1;                   // patched sites trap as others do
  volatile char noting = 0;              // the preloaded library has an address of this node in a register

  const void* clock_functions[kClockFunctions] = {};  // where the vDSO's functions jump to

  std::uint64_t signal_stack_top = 0;  // what patched calls use, and where they keep the vector registers
  void* vector_state = nullptr;

  // What the preloaded library (held_locks.h) notes: the pages of the locks that the thread has or is taking.
  std::atomic<std::uint32_t>* lock_counts = nullptr;  // null: not noted
  std::uint64_t held_count = 0;
  std::array<std::uint64_t, 7> held_pages{};

  PendingSignal deferred{};  // came during a patched call; number 0: none

  os::Mutex mu;                                  // taken with signals blocked
  int tid = 0;                                   // the kernel's
  int guest_tid = 0;                             // the program's: unique in the cluster
  std::uint64_t guest_mask = 0;                  // blocked signals, as the program sees it
  std::uint64_t awaited GUARDED_BY(mu) = 0;      // by sigwait and its kin, though blocked
  std::optional<std::uint64_t> mask_to_restore;  // in sigsuspend: what the handler's return brings back
  stack_t guest_stack{.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
  std::uint64_t clear_tid = 0;  // address of a word to clear and wake at the end
  std::uint64_t robust_list = 0;
  std::atomic<std::uint64_t> call_at_home{0};  // the ticket of a system call that the home makes for it; 0: none
  std::uint64_t disbelieved_at = 0;            // see believes_bus_error
  std::uint32_t disbelieved_after = 0;
  bool is_forked_child = false;  // the kernel serves its system calls: mask and stacks are the kernel's
  bool in_vfork_child = false;   // a child process runs on this thread's memory
  ActiveTime active;
  std::int64_t processor_ns_elsewhere = 0;  // that it used before it came to this kernel thread
  // Of visits to the home (process_common.cc): how long the last was to be, whether the thread begins one by moving,
  // and, at the home, when it is over. 0: it is none.
  std::int64_t stay_ns = 0, leave_at_ns = 0;
  bool visits = false;
  NodeId belongs_on = kNoNode;  // where the program's threads are spread; it may be elsewhere for a while
  HelperState helper;
  HelperWatch helper_watch;               // while it is on a node's list: guarded by that
  std::atomic<std::int64_t> fault_ns{0};  // in page faults on this node; written by the thread itself
  int frames_of_node = 0;  // of signals that interrupted the kernel's vDSO, whose place differs from node to node
  os::Mutex kick_mu;       // while a kick is sent
  std::atomic<NodeId::value_type> move_to{kNoNode.value};  // where the thread is to go on (process_moves.cc)
  std::atomic<bool> must_end{false};                       // another thread executes a new program

  static constexpr std::size_t kMostPending = 32;
  std::array<PendingSignal, kMostPending> pending GUARDED_BY(mu);
  std::size_t pending_count GUARDED_BY(mu) = 0;
  runtime::WaitFlag* wait GUARDED_BY(mu) = nullptr;  // set to end a wait early, when a signal has come

  TraceRing* trace = nullptr;  // null: the thread is not traced

  jmp_buf end;  // where enter_guest() was called: the thread goes on there when the program's part has ended

  static GuestThread* current();  // null in threads of the runtime

  // Whether a SIGBUS at a page that is now the kernel's is the kernel's: the page may have become so since the fault
  // (`times`: PageLimits::times_of_kernel() before it was looked up). If it was before, the same comes again.
  bool believes_bus_error(std::uint64_t address, std::uint32_t times) {
    const bool again = disbelieved_at == address && disbelieved_after == times;
    disbelieved_at = address, disbelieved_after = times;
    return again;
  }
};

// Called by the stubs, with the runtime's fs and signals blocked.
class GuestHandler {
 public:
  virtual ~GuestHandler() = default;
  virtual void system_call(GuestThread& thread, int number, ucontext_t& context) = 0;
  // The same from a patched site, with signals not blocked (patched_entry.h).
  virtual void patched_call(GuestThread& thread, PatchedFrame& frame) = 0;
  // Any other signal. in_guest: it interrupted the program, not the runtime.
  virtual void signal(GuestThread* thread, int number, siginfo_t& info, ucontext_t& context, bool in_guest) = 0;
};

// Once per process, before the first guest thread.
Result<> install_guest_entry(GuestHandler& handler);
// Has the signal delivered to GuestHandler::signal (flags: of sigaction).
void catch_signal(int number, int flags);

// Makes the calling thread able to run the program; `thread` lives as long as it.
Result<> prepare_guest_thread(GuestThread& thread);
// clone with CLONE_VM | CLONE_VFORK: `body(argument)` runs in a new process on this memory and the given stack, and
// must not return; the calling thread sleeps until that process has ended or executes another program. The child's id,
// or a negative errno.
long borrow_memory(void* stack_top, void (*body)(void*), void* argument);
// In such a child: the program's system calls trap again, and signals have a stack of their own.
void prepare_borrowed_thread(GuestThread& thread, const stack_t& signal_stack);
// The same in a forked child, whose system calls are the kernel's.
void prepare_child_thread(GuestThread& thread);
// Runs `body` on a new thread of the runtime. (One made from a guest thread in any other way inherits its gs register,
// and with it its identity.)
void start_runtime_thread(std::function<void()> body);
// The calling thread becomes an ordinary one of the runtime again. Not on its signal stack.
void forget_guest_thread();
// Runs the program from these registers on; thread.guest_mask is in force. All signals are blocked when called.
[[noreturn]] void enter_guest(GuestThread& thread, const GuestRegisters& registers);

// The same with all that a frame of the kernel holds: `state` is its floating point state, as context_state() gives it.
[[noreturn]] void resume_guest(GuestThread& thread, const GuestRegisters& registers, std::span<const std::byte> state);
// The floating point and vector registers in a signal frame, in the layout of this machine's XSAVE. Empty: they are not
// in a form that can be taken elsewhere.
std::span<std::byte> context_state(const ucontext_t& context);

// Signals that the program can neither block nor ignore, because the runtime needs them.
std::uint64_t kernel_mask(std::uint64_t guest_mask);
// kKickSignal and those of faults: the program may set what it likes for them, but the kernel's disposition stays.
bool is_runtime_signal(int number);
inline constexpr int kKickSignal = SIGSTKFLT;  // unused by Linux; makes a thread look at `pending` and `move_to`
// Interrupts the thread if it runs the program's code; any other call of the program is not disturbed. Any thread,
// after it has set move_to.
void kick_in_guest(GuestThread& thread);

// A system call during which signals are let through. -EINTR, without having begun, if one is pending already.
long interruptible_system_call(GuestThread& thread, long number, long a = 0, long b = 0, long c = 0, long d = 0,
                               long e = 0, long f = 0);
// A system call, as is: negative errno.
long raw_system_call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0);

// With all signals blocked but those of hardware faults; returns the old mask.
std::uint64_t block_signals();
void set_signal_mask(std::uint64_t mask);

}  // namespace gallocy::personality
