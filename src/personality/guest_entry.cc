#include "personality/guest_entry.h"

#include <asm/prctl.h>
#include <errno.h>
#include <immintrin.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <thread>
#include <utility>

#include "base/check.h"
#include "os/clock.h"
#include "os/os_error.h"
#include "personality/processors.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif

// ---- stubs
//
// A handler is entered with the interrupted code's fs. In a guest thread (gs is not 0) the stub saves fs and the
// selector, switches to the runtime's, and restores both at the end: so a fault inside the runtime, which copies to and
// from the program's memory, nests. rt_sigreturn is issued from between gallocy_return_begin and gallocy_return_end,
// which Syscall User Dispatch always lets pass; its bytes are those that unwinders look for in a signal frame's return
// address (`48 c7 c0 0f 00 00 00 0f 05`).
asm(R"(
.text
.globl gallocy_on_system_call, gallocy_on_signal, gallocy_return_begin, gallocy_return_end, gallocy_enter_guest
.globl gallocy_borrow_memory, gallocy_interruptible, gallocy_interruptible_call, gallocy_interrupted
.type gallocy_on_system_call, @function
.type gallocy_on_signal, @function

gallocy_on_system_call:            # the program made a system call: fs and selector are known to be its
  push %rbx
  mov %gs:0, %rbx
  rdfsbase %rax
  mov %rax, 16(%rbx)
  movb $0, 24(%rbx)
  mov 8(%rbx), %rax
  wrfsbase %rax
  mov %rbx, %rdi
  call gallocy_guest_system_call   # (thread, info, context)
  mov 16(%rbx), %rax
  wrfsbase %rax
  movb $1, 24(%rbx)
  pop %rbx
  ret

gallocy_on_signal:
  push %rbx
  push %r12
  push %r13
  rdgsbase %r13
  test %r13, %r13
  jz 1f
  rdfsbase %rbx
  movzbl 24(%r13), %r12d
  movb $0, 24(%r13)
  test %r12d, %r12d
  jz 2f
  mov %rbx, 16(%r13)
2:
  mov 8(%r13), %rax
  wrfsbase %rax
  mov %r13, %rcx
  mov %r12d, %r8d
  call gallocy_guest_signal        # (number, info, context, thread, in_guest)
  test %r12d, %r12d
  jz 3f
  mov 16(%r13), %rbx
3:
  wrfsbase %rbx
  movb %r12b, 24(%r13)
  pop %r13
  pop %r12
  pop %rbx
  ret
1:
  xor %ecx, %ecx
  xor %r8d, %r8d
  call gallocy_guest_signal
  pop %r13
  pop %r12
  pop %rbx
  ret

gallocy_return_begin:
  mov $15, %rax
  syscall
gallocy_enter_guest:                     # rdi: the frame's ucontext, rsi: the program's fs
  wrfsbase %rsi
  movb $1, %gs:24
  mov %rdi, %rsp
  mov $15, %rax
  syscall
  ud2                              # what the kernel looks at is the address behind the syscall: it lies in the range too
gallocy_return_end:

gallocy_borrow_memory:             # rdi: flags, rsi: stack, rdx: function, rcx: its argument
  push %r12
  push %r13
  mov %rdx, %r12
  mov %rcx, %r13
  xor %edx, %edx
  xor %r10d, %r10d
  xor %r8d, %r8d
  mov $56, %eax
  syscall
  test %rax, %rax
  jnz 4f
  xor %ebp, %ebp
  mov %r13, %rdi
  call *%r12
  ud2
4:
  movb $0, %gs:24                  # whatever the child left
  pop %r13
  pop %r12
  ret

gallocy_interruptible:             # rdi: the address of number and six arguments
  mov 0(%rdi), %rax
  mov 16(%rdi), %rsi
  mov 24(%rdi), %rdx
  mov 32(%rdi), %r10
  mov 40(%rdi), %r8
  mov 48(%rdi), %r9
  mov 8(%rdi), %rdi
  cmpw $0, %gs:26
  jne gallocy_interrupted
gallocy_interruptible_call:
  syscall
  ret
gallocy_interrupted:
  mov $-4, %rax
  ret
)");

extern "C" {
void gallocy_on_system_call();
void gallocy_on_signal();
extern const char gallocy_return_begin[], gallocy_return_end[];
[[noreturn]] void gallocy_enter_guest(ucontext_t* context, std::uint64_t fs);
long gallocy_interruptible(const long* call);
long gallocy_borrow_memory(std::uint64_t flags, void* stack, void (*body)(void*), void* argument);
extern const char gallocy_interruptible_call[], gallocy_interrupted[];
}

namespace gallocy::personality {
namespace {

static_assert(offsetof(GuestThread, self) == 0 && offsetof(GuestThread, runtime_fs) == 8);
static_assert(offsetof(GuestThread, guest_fs) == 16 && offsetof(GuestThread, selector) == 24);
static_assert(offsetof(GuestThread, signal_pending) == 26 && offsetof(GuestThread, signal_deferred) == 27);
static_assert(offsetof(GuestThread, noting) == 29 && offsetof(GuestThread, clock_functions) == 32);

constexpr std::size_t kSignalStackBytes = 256 << 10;  // of which the kernel's frame takes up to 11 KiB (AMX)
constexpr std::size_t kVectorStateBytes = 4096;       // behind it; see patched_entry.cc

GuestHandler* g_handler = nullptr;  // signal handlers get no argument of ours

struct KernelAction {
  void (*handler)();
  std::uint64_t flags;
  const void* restorer;
  std::uint64_t mask;
};
constexpr std::uint64_t kSaRestorer = 0x04000000;

constexpr std::uint64_t bit(int signal) { return std::uint64_t{1} << (signal - 1); }
// Hardware raises them, and a blocked one that is raised ends the process.
constexpr std::uint64_t kFaults = bit(SIGSEGV) | bit(SIGBUS) | bit(SIGFPE) | bit(SIGILL) | bit(SIGTRAP) | bit(SIGSYS);

long install(int number, void (*handler)(), std::uint64_t flags) {
  const KernelAction action{.handler = handler,
                            .flags = flags | SA_SIGINFO | SA_ONSTACK | SA_NODEFER | kSaRestorer,
                            .restorer = gallocy_return_begin,
                            .mask = ~kFaults};
  return raw_system_call(SYS_rt_sigaction, number, reinterpret_cast<long>(&action), 0, 8);
}

}  // namespace

extern "C" void gallocy_guest_system_call(GuestThread* thread, siginfo_t* info, ucontext_t* context) {
  g_handler->system_call(*thread, info->si_syscall, *context);
}

extern "C" void gallocy_guest_patched_call(GuestThread* thread, PatchedFrame* frame) {
  g_handler->patched_call(*thread, *frame);
}

extern "C" void gallocy_guest_signal(int number, siginfo_t* info, ucontext_t* context, GuestThread* thread,
                                     int in_guest) {
  const int saved = errno;
  // An interruptible call that has not begun does not begin.
  greg_t& rip = context->uc_mcontext.gregs[REG_RIP];
  const auto at = static_cast<std::uint64_t>(rip);
  g_handler->signal(thread, number, *info, *context, in_guest != 0);
  if (thread != nullptr && (thread->signal_pending.load() != 0 || thread->signal_deferred.load() != 0) &&
      at >= reinterpret_cast<std::uint64_t>(gallocy_interruptible) &&
      at <= reinterpret_cast<std::uint64_t>(gallocy_interruptible_call)) {
    rip = reinterpret_cast<greg_t>(gallocy_interrupted);
  }
  errno = saved;
}

GuestThread* GuestThread::current() { return reinterpret_cast<GuestThread*>(_readgsbase_u64()); }

long raw_system_call(long number, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

bool is_runtime_signal(int number) {
  return number == SIGSYS || number == SIGBUS || number == SIGSEGV || number == kKickSignal;
}

std::uint64_t kernel_mask(std::uint64_t guest_mask) { return guest_mask & ~(kFaults | bit(kKickSignal)); }

std::uint64_t block_signals() {
  const std::uint64_t all = ~kFaults;
  std::uint64_t before = 0;
  raw_system_call(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<long>(&all), reinterpret_cast<long>(&before), 8);
  return before;
}

void set_signal_mask(std::uint64_t mask) {
  raw_system_call(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<long>(&mask), 0, 8);
}

Pause::Pause(ActiveTime& time) : time_(time.pause_began_ns.load(std::memory_order_relaxed) == 0 ? &time : nullptr) {
  if (time_ != nullptr) time_->pause_began_ns.store(os::monotonic_ns(), std::memory_order_relaxed);
}

Pause::~Pause() {
  if (time_ == nullptr) return;
  const std::int64_t pause = os::monotonic_ns() - time_->pause_began_ns.load(std::memory_order_relaxed);
  time_->paused_ns.fetch_add(pause, std::memory_order_relaxed);
  time_->pause_began_ns.store(0, std::memory_order_relaxed);
}

static void absorb_kick(GuestThread& thread);

long interruptible_system_call(GuestThread& thread, long number, long a, long b, long c, long d, long e, long f) {
  const long call[7] = {number, a, b, c, d, e, f};
  const Pause pause(thread.active);
  if (thread.move_to.load() != kNoNode.value) absorb_kick(thread);
  if (thread.in_patched_call != 0) return gallocy_interruptible(call);  // signals are not blocked
  set_signal_mask(kernel_mask(thread.guest_mask));
  const long result = gallocy_interruptible(call);
  block_signals();
  return result;
}

// The program would notice a kick in the middle of a call (of recv with MSG_WAITALL, for instance). None is sent to a
// thread that is inside the runtime, so it is here now or not on its way.
void absorb_kick(GuestThread& thread) {
  { const os::MutexLock lock(thread.kick_mu); }
  if (thread.in_patched_call != 0) {
    raw_system_call(SYS_getpid);  // it comes at the end of a call
    return;
  }
  const std::uint64_t kick = bit(kKickSignal);
  const timespec at_once{};
  raw_system_call(SYS_rt_sigtimedwait, reinterpret_cast<long>(&kick), 0, reinterpret_cast<long>(&at_once), sizeof kick);
}

void kick_in_guest(GuestThread& thread) {
  const os::MutexLock lock(thread.kick_mu);
  if (thread.selector == 1) raw_system_call(SYS_tkill, thread.tid, kKickSignal);
}

namespace {

// Some of threads that have ended, for the next ones: to unmap one interrupts every processor that runs this process.
// Without a lock, which a forked child might find taken.
constinit std::array<std::atomic<void*>, 16> g_spare_stacks{};

void* take_signal_stack() {
  for (auto& spare : g_spare_stacks) {
    if (void* const memory = spare.exchange(nullptr)) return memory;
  }
  return ::mmap(nullptr, kSignalStackBytes + kVectorStateBytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

void give_signal_stack(void* memory) {
  for (auto& spare : g_spare_stacks) {
    void* none = nullptr;
    if (spare.compare_exchange_strong(none, memory)) return;
  }
  ::munmap(memory, kSignalStackBytes + kVectorStateBytes);
}

}  // namespace

static bool add_signal_stack(GuestThread& thread) {
  void* const memory = take_signal_stack();
  if (memory == MAP_FAILED) return false;
  const stack_t stack{.ss_sp = memory, .ss_flags = 0, .ss_size = kSignalStackBytes};
  thread.signal_stack_top = reinterpret_cast<std::uint64_t>(memory) + kSignalStackBytes;
  thread.vector_state = static_cast<std::byte*>(memory) + kSignalStackBytes;
  return ::sigaltstack(&stack, nullptr) == 0;
}

Result<> install_guest_entry(GuestHandler& handler) {
  constexpr unsigned long kHasFsgsbase = 1 << 1;  // HWCAP2_FSGSBASE
  if ((::getauxval(AT_HWCAP2) & kHasFsgsbase) == 0) {
    return fail(ErrorCode::kUnsupported, "this kernel or processor does not offer FSGSBASE (Linux 5.9 and later do)");
  }
  g_handler = &handler;
  CHECK(install(SIGSYS, gallocy_on_system_call, 0) == 0);
  return {};
}

void catch_signal(int number, int flags) {
  CHECK(install(number, gallocy_on_signal, static_cast<std::uint64_t>(flags)) == 0, number);
}

Result<> prepare_guest_thread(GuestThread& thread) {
  thread.runtime_fs = _readfsbase_u64();
  thread.tid = static_cast<int>(::syscall(SYS_gettid));
  fill_clock_functions(thread.clock_functions);
  if (!add_signal_stack(thread)) return os::os_failure(errno, "no memory for a thread's signal stack");
  block_signals();
  _writegsbase_u64(reinterpret_cast<std::uint64_t>(&thread));
  const auto begin = reinterpret_cast<std::uint64_t>(gallocy_return_begin);
  const auto bytes = static_cast<std::uint64_t>(gallocy_return_end - gallocy_return_begin);
  if (::prctl(PR_SET_SYSCALL_USER_DISPATCH, 1 /* on */, begin, bytes, &thread.selector) != 0) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("this kernel does not offer Syscall User Dispatch (Linux 5.11 and later do): {}",
                            os::os_error_text(errno)));
  }
  return {};
}

void start_runtime_thread(std::function<void()> body) {
  std::thread([body = std::move(body)] {
    _writegsbase_u64(0);
    free_thread();
    // Whoever made it, often a thread that others wait for: it may become the program's, or make the program's
    // processes.
    ::setpriority(PRIO_PROCESS, 0, ::getpriority(PRIO_PROCESS, static_cast<id_t>(::getpid())));
    body();
  }).detach();
}

long borrow_memory(void* stack_top, void (*body)(void*), void* argument) {
  return gallocy_borrow_memory(CLONE_VM | CLONE_VFORK | SIGCHLD, stack_top, body, argument);
}

void prepare_borrowed_thread(GuestThread& thread, const stack_t& signal_stack) {
  CHECK(raw_system_call(SYS_sigaltstack, reinterpret_cast<long>(&signal_stack), 0) == 0);
  const auto begin = reinterpret_cast<long>(gallocy_return_begin);
  CHECK(raw_system_call(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, 1, begin, gallocy_return_end - gallocy_return_begin,
                        reinterpret_cast<long>(&thread.selector)) == 0);
}

void prepare_child_thread(GuestThread& thread) {
  thread.runtime_fs = _readfsbase_u64();
  thread.tid = static_cast<int>(::syscall(SYS_gettid));
  fill_clock_functions(thread.clock_functions);
  stack_t stack;
  ::sigaltstack(nullptr, &stack);
  if ((stack.ss_flags & SS_DISABLE) != 0) add_signal_stack(thread);
  _writegsbase_u64(reinterpret_cast<std::uint64_t>(&thread));
}

void forget_guest_thread() {
  ::prctl(PR_SET_SYSCALL_USER_DISPATCH, 0 /* off */, 0, 0, 0);
  const stack_t none{.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
  stack_t own{};
  CHECK(::sigaltstack(&none, &own) == 0, errno);
  give_signal_stack(own.ss_sp);
  _writegsbase_u64(0);
}

namespace {

constexpr std::uint64_t kUserSegments = 0x002b'0000'0000'0033;  // cs, and ss in the highest word
constexpr std::uint64_t kPlainFlags = 0x202;                    // reserved, and interrupts
constexpr std::size_t kMostStateBytes = 12 << 10;               // with AMX

// A signal frame as the kernel would have made it (arch/x86/include/asm/sigframe.h), for rt_sigreturn to restore: so
// registers and mask change in one step.
[[noreturn]] void enter(const GuestThread& thread, const GuestRegisters& registers, _libc_fpstate* state) {
  ucontext_t context{};
  std::memcpy(context.uc_mcontext.gregs, registers.general, sizeof registers.general);
  context.uc_mcontext.gregs[REG_CSGSFS] = static_cast<greg_t>(kUserSegments);
  context.uc_mcontext.fpregs = state;
  context.uc_flags = 0x6;  // UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS
  ::sigaltstack(nullptr, &context.uc_stack);
  const std::uint64_t mask = kernel_mask(thread.guest_mask);
  std::memcpy(&context.uc_sigmask, &mask, sizeof mask);
  gallocy_enter_guest(&context, registers.fs);
}

}  // namespace

void enter_guest(GuestThread& thread, const GuestRegisters& registers) {
  alignas(64) _libc_fpstate floating{};
  floating.cwd = registers.x87_control;
  floating.ftw = 0;
  floating.mxcsr = registers.mxcsr;
  floating.mxcr_mask = 0xffff;
  GuestRegisters plain = registers;
  plain.general[REG_EFL] = kPlainFlags;
  enter(thread, plain, &floating);
}

void resume_guest(GuestThread& thread, const GuestRegisters& registers, std::span<const std::byte> state) {
  alignas(64) std::byte own[kMostStateBytes];
  CHECK(state.size() <= sizeof own, state.size());
  std::memcpy(own, state.data(), state.size());
  enter(thread, registers, reinterpret_cast<_libc_fpstate*>(own));
}

std::span<std::byte> context_state(const ucontext_t& context) {
  // struct _fpx_sw_bytes (asm/sigcontext.h).
  struct Software {
    std::uint32_t magic, extended_bytes;
  } software{};
  constexpr std::uint32_t kMagic = 0x46505853;
  auto* const state = reinterpret_cast<std::byte*>(context.uc_mcontext.fpregs);
  if (state == nullptr) return {};
  std::memcpy(&software, state + 464, sizeof software);
  if (software.magic != kMagic || software.extended_bytes > kMostStateBytes) return {};
  return {state, software.extended_bytes};
}

}  // namespace gallocy::personality
