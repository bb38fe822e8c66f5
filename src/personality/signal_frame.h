// Signal delivery to the program, as the kernel does it (arch/x86/kernel/signal_64.c): a frame with siginfo and
// ucontext on the program's stack, the registers set to its handler; and the way back, rt_sigreturn. The frame is
// exactly the kernel's, so unwinders, longjmp and handlers that change the context work.
#pragma once

#include <signal.h>
#include <ucontext.h>

#include <cstdint>

#include "personality/guest_entry.h"

namespace gallocy::personality {

// As rt_sigaction takes it.
struct GuestAction {
  std::uint64_t handler = 0;  // or SIG_DFL, SIG_IGN
  std::uint64_t flags = 0;
  std::uint64_t restorer = 0;
  std::uint64_t mask = 0;

  bool has_handler() const { return handler > 1; }
};

// The program goes on in its handler, and afterwards where `context` is. False: its stack cannot be written.
bool push_signal_frame(GuestThread& thread, const GuestAction& action, int number, const siginfo_t& info,
                       ucontext_t& context);
// The program's rt_sigreturn: the context becomes what the frame says. False: the frame cannot be read.
bool pop_signal_frame(GuestThread& thread, ucontext_t& context);

}  // namespace gallocy::personality
