// A signal that ends the program: the home says so in one line, and ends by that signal, whichever node it came on.
#include <fmt/format.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "personality/guest_memory.h"
#include "personality/process.h"

namespace gallocy::personality {
namespace {

// signal(7): the default action of these is a core dump. The others end a program on purpose.
bool is_crash(int number) {
  switch (number) {
    case SIGABRT:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGQUIT:
    case SIGSEGV:
    case SIGSYS:
    case SIGTRAP:
    case SIGXCPU:
    case SIGXFSZ:
      return true;
    default:
      return false;
  }
}

bool has_address(const siginfo_t& info) {
  return info.si_code > 0 && info.si_code != SI_KERNEL && (info.si_signo == SIGSEGV || info.si_signo == SIGBUS);
}

std::string text_of(const Crash& crash, const ObjectMap& objects, const std::string& lacks) {
  std::string text = fmt::format("gallocy: SIG{}", ::sigabbrev_np(crash.signal.number));
  if (has_address(crash.signal.info)) {
    text += fmt::format(" at address {:#x}", reinterpret_cast<std::uint64_t>(crash.signal.info.si_addr));
  }
  const auto at = static_cast<std::uint64_t>(crash.registers.general[REG_RIP]);
  const std::string name = objects.name(at);
  return text + fmt::format(" in thread {} on node {}, {}{}\n", crash.guest_tid, crash.node,
                            name.empty() ? fmt::format("instruction {:#x}", at) : name, lacks);
}

void say(const std::string& text) { (void)!::write(STDERR_FILENO, text.data(), text.size()); }

}  // namespace

// Signals that end the process from outside leave no time for a report unless they are caught.
bool Process::catches_end(int number) const {
  constexpr int kCaught[] = {SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGTERM, SIGALRM, SIGUSR1, SIGUSR2, SIGXCPU};
  return is_home() && looks_inside() && std::ranges::find(kCaught, number) != std::end(kCaught);
}

void Process::catch_ends() {
  for (int number = 1; number < SIGRTMIN; ++number) {
    struct sigaction present {};
    if (catches_end(number) && ::sigaction(number, nullptr, &present) == 0 && present.sa_handler == SIG_DFL) {
      catch_signal(number, 0);
    }
  }
}

// The process ends as by the signal's default action.
void Process::die_of(GuestThread& thread, const PendingSignal& signal, const ucontext_t& context) {
  // A child has this process's memory, but none of its threads and nodes.
  if (thread.is_forked_child || thread.in_vfork_child) end_by_signal(signal.number);
  Crash crash{.signal = signal, .guest_tid = thread.guest_tid, .node = self_};
  std::memcpy(crash.registers.general, context.uc_mcontext.gregs, sizeof crash.registers.general);
  crash.registers.fs = thread.guest_fs;
  if (is_home()) {
    start_runtime_thread([this, crash] { end_by(crash); });  // this one's stack is small
  } else {
    wire::GuestRequest request{.kind = wire::GuestRequestKind::kFatal};
    questions_.post(kHome, request, std::as_bytes(std::span(&crash, 1)));
  }
  for (;;) ::pause();
}

// At the home, on a thread of the runtime.
void Process::end_by(const Crash& crash) {
  if (ending_.exchange(true)) {
    for (;;) ::pause();
  }
  if (is_crash(crash.signal.number)) describe(crash);
  finish();
  end_by_signal(crash.signal.number);
}

void Process::describe(const Crash& crash) {
  const ObjectMap objects = object_map({});
  say(text_of(crash, objects, crash.signal.number == SIGILL ? lacks_text(crash.node) : ""));
  if (options_.backtrace == nullptr) return;
  const auto read = [this](std::uint64_t address, std::uint64_t& word) {
    return in_guest(address) && copy_in(&word, address, sizeof word);
  };
  say(options_.backtrace({.objects = objects.objects(), .registers = crash.registers, .read = read}));
}

void Process::end_by_signal(int number) {
  struct sigaction by_default {};
  by_default.sa_handler = SIG_DFL;
  ::sigaction(number, &by_default, nullptr);
  ::raise(number);
  set_signal_mask(0);
  for (;;) ::pause();
}

}  // namespace gallocy::personality
