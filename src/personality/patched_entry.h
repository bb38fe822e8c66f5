// The short way over the border (guest_entry.h): what a patched call site (patched_sites.h) jumps to.
//
// A trap comes with a signal frame, in which the kernel has saved everything and blocked all signals. Here the stub
// saves what a system call preserves, the vector registers too, and signals stay unblocked: one that comes while the
// runtime is inside is put aside (defer_signal), and the call then returns through a trap (kLeavePatchedCall), which
// has the frame that delivering a signal needs.
#pragma once

#include <signal.h>
#include <ucontext.h>

#include <cstdint>

#include "personality/guest_entry.h"
#include "personality/patched_sites.h"

namespace gallocy::personality {

// What the stub saved; rax and go_on are the call's outcome.
struct PatchedFrame {
  std::uint64_t rax, rdi, rsi, rdx, r10, r8, r9;
  std::uint64_t go_on;  // on entry the slot; afterwards where the program continues
  std::uint64_t rsp;
};

// The number of the system call by which a patched call returns when a signal is to be delivered. Not one of Linux.
inline constexpr int kLeavePatchedCall = 0x6c70;

// Maps the table of pointers that patched sites jump through, on every node. False: the addresses are taken, or the
// processor cannot save its vector registers compactly (XSAVEC); then no site may be patched.
bool map_patched_slots();
// For an executable that needs these addresses. Before any site is patched.
void unmap_patched_slots();

PatchedSite patched_site(std::uint32_t slot);  // of this node; call_at 0: not known
void set_patched_site(std::uint32_t slot, const PatchedSite& site);

// In a signal handler: if the program was interrupted inside a stub, moves it to the call site or behind it, where
// unwinders and the handler's return find a place of the program.
void leave_stubs(ucontext_t& context);
// In a signal handler that interrupted the runtime inside a patched call. The first signal of a call is kept; the
// others stay with the kernel.
void defer_signal(GuestThread& thread, int number, const siginfo_t& info, ucontext_t& context);
// The rest of kLeavePatchedCall: puts the call's outcome into the context. False: the program made that call itself.
bool finish_leaving(ucontext_t& context);

}  // namespace gallocy::personality
