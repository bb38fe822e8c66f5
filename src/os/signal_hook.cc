#include "os/signal_hook.h"

#include <errno.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <mutex>

#include "base/check.h"
#include "base/ids.h"
#include "os/os_error.h"

namespace gallocy::os {
namespace {

// Handlers get no argument of ours, so what they need is global: one Disposition per signal that is ever hooked.
// A node needs one hook per signal; `gallocy doctor` and tests add some beside it.
constexpr std::size_t kMaxHooks = 8;

struct Disposition {
  std::array<std::atomic<SignalHook::Receiver*>, kMaxHooks> receivers{};
  struct sigaction previous {};
  std::size_t hooks = 0;
};

Disposition g_sigsegv, g_sigbus;
std::mutex g_changes;  // installing and removing; never taken in a handler

// One byte that is 1 in the process that installed the hooks and 0 in its forked children (MADV_WIPEONFORK). A child
// that shares the memory (vfork) reads 1: its faults are the parent's.
std::atomic<char>* g_is_node = nullptr;

Disposition& disposition_of(int signal) {
  CHECK(signal == SIGSEGV || signal == SIGBUS, signal);
  return signal == SIGSEGV ? g_sigsegv : g_sigbus;
}

Result<> mark_process() {
  if (g_is_node == nullptr) {
    void* const page = ::mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return os_failure(errno, "no memory for the fault handlers");
    CHECK(::madvise(page, kPageBytes, MADV_WIPEONFORK) == 0, errno);
    g_is_node = static_cast<std::atomic<char>*>(page);
  }
  g_is_node->store(1);
  return {};
}

// Sent by kill, tgkill or sigqueue, not raised by an access: returning from the handler would not repeat it.
bool was_sent(const siginfo_t& info) { return info.si_code <= 0; }

void call_previous(struct sigaction& previous, int signal, siginfo_t* info, ucontext_t* context) {
  const struct sigaction action = previous;
  if (action.sa_flags & SA_RESETHAND) previous.sa_handler = SIG_DFL;
  sigset_t mask;
  ::sigorset(&mask, &context->uc_sigmask, &action.sa_mask);
  if (!(action.sa_flags & SA_NODEFER)) ::sigaddset(&mask, signal);
  ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);  // returning from our handler restores the interrupted code's mask
  if (action.sa_flags & SA_SIGINFO) {
    action.sa_sigaction(signal, info, context);
  } else {
    action.sa_handler(signal);
  }
}

void pass_on(struct sigaction& previous, int signal, siginfo_t* info, ucontext_t* context) {
  const bool has_handler =
      (previous.sa_flags & SA_SIGINFO) || (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN);
  if (has_handler) return call_previous(previous, signal, info, context);
  if (previous.sa_handler == SIG_IGN && was_sent(*info)) return;
  // The default action; the kernel takes it too for an access fault that is ignored.
  struct sigaction by_default {};
  by_default.sa_handler = SIG_DFL;
  ::sigaction(signal, &by_default, nullptr);
  if (was_sent(*info)) ::syscall(SYS_tgkill, ::getpid(), ::syscall(SYS_gettid), signal);
}

void on_signal(int signal, siginfo_t* info, void* raw_context) {
  const int saved = errno;
  Disposition& disposition = disposition_of(signal);
  auto* const context = static_cast<ucontext_t*>(raw_context);
  if (!was_sent(*info) && g_is_node->load(std::memory_order_relaxed) != 0) {
    for (auto& slot : disposition.receivers) {
      SignalHook::Receiver* const receiver = slot.load(std::memory_order_acquire);
      if (receiver != nullptr && receiver->on_signal(*info, *context)) {
        errno = saved;
        return;
      }
    }
  }
  errno = saved;
  pass_on(disposition.previous, signal, info, context);
  errno = saved;
}

struct sigaction our_action() {
  struct sigaction action {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK | SA_RESTART;
  ::sigfillset(&action.sa_mask);
  for (const int raised : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) {
    ::sigdelset(&action.sa_mask, raised);
  }
  return action;
}

}  // namespace

Result<std::unique_ptr<SignalHook>> SignalHook::install(int signal, Receiver& receiver) {
  const std::lock_guard lock(g_changes);
  GALLOCY_TRY(mark_process());
  Disposition& disposition = disposition_of(signal);
  CHECK(disposition.hooks < kMaxHooks, signal);
  for (auto& slot : disposition.receivers) {
    if (slot.load() == nullptr) {
      slot.store(&receiver);
      break;
    }
  }
  if (disposition.hooks++ == 0) {
    // The previous disposition must be known before the first fault can be passed on.
    CHECK(::sigaction(signal, nullptr, &disposition.previous) == 0, errno, signal);
    const struct sigaction action = our_action();
    CHECK(::sigaction(signal, &action, nullptr) == 0, errno, signal);
  }
  return std::unique_ptr<SignalHook>(new SignalHook(signal, receiver));
}

SignalHook::~SignalHook() {
  const std::lock_guard lock(g_changes);
  Disposition& disposition = disposition_of(signal_);
  for (auto& slot : disposition.receivers) {
    if (slot.load() == &receiver_) slot.store(nullptr);
  }
  if (--disposition.hooks > 0) return;
  // A handler that the program installed since then may call ours; it stays, and ours goes on passing on.
  struct sigaction current {};
  CHECK(::sigaction(signal_, nullptr, &current) == 0, errno);
  if ((current.sa_flags & SA_SIGINFO) && current.sa_sigaction == on_signal) {
    CHECK(::sigaction(signal_, &disposition.previous, nullptr) == 0, errno);
  }
}

void unblock_fault_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGSEGV);
  ::sigaddset(&signals, SIGBUS);
  ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
}

// The bits of the error code: Intel SDM volume 3, "Interrupt 14".
bool was_write(const ucontext_t& context) { return (context.uc_mcontext.gregs[REG_ERR] & 0x2) != 0; }
bool was_instruction_fetch(const ucontext_t& context) { return (context.uc_mcontext.gregs[REG_ERR] & 0x10) != 0; }

}  // namespace gallocy::os
