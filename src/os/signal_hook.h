// SignalHook: owns the process's disposition of one signal that the hardware raises (SIGSEGV, SIGBUS) for as long as it
// lives, and passes on what is not its receiver's.
//
// A fault handler runs
//   * on the alternate signal stack where the thread has one (SA_ONSTACK): a handler installed before ours that reports
//     stack overflows goes on working, and a program stack may lie in global memory. The hook itself needs less than
//     1 KiB of it beside the kernel's frame;
//   * with asynchronous signals blocked, as a fault inside the kernel would be: a program's SIGALRM handler can neither
//     nest a second fault in the middle of the first nor longjmp out of it. Signals for the process go to other threads
//     meanwhile;
//   * with the hardware's signals not blocked (SA_NODEFER): a bug in a handler ends the process as natively, with a
//   core
//     at the place, instead of by the kernel's forced kill.
//
// What no receiver takes goes to the disposition that was in force before: a handler is called with the mask and flags
// it asked for; the default is restored and the access repeated, so that the process dies of the real signal. A program
// that installs its own handler for the signal later replaces the hook and must call the handler it got from sigaction
// for faults in global memory.
//
// Blocked signals. The kernel kills a process that raises a signal which the thread blocks. So a thread may not touch
// global memory with SIGSEGV and SIGBUS blocked, as threads are that inherited a full mask and handlers whose sa_mask
// is full; unblock_fault_signals() is the cure for the former, the uffd-thread engine, which needs no signals, for
// both.
//
// In a forked child, which is not a node, the hook only passes on. Several hooks of one signal may exist; each fault is
// offered to them in turn. Destroy a hook only when no thread can fault for it any more.
#pragma once

#include <signal.h>
#include <ucontext.h>

#include <memory>

#include "base/result.h"

namespace gallocy::os {

class SignalHook {
 public:
  class Receiver {
   public:
    // In the signal handler, on the faulting thread. True: the fault is resolved, repeat the access.
    virtual bool on_signal(const siginfo_t& info, const ucontext_t& context) = 0;

   protected:
    ~Receiver() = default;
  };

  static Result<std::unique_ptr<SignalHook>> install(int signal, Receiver& receiver);
  ~SignalHook();
  SignalHook(const SignalHook&) = delete;
  SignalHook& operator=(const SignalHook&) = delete;

 private:
  SignalHook(int signal, Receiver& receiver) : signal_(signal), receiver_(receiver) {}
  const int signal_;
  Receiver& receiver_;
};

// For threads that may have inherited a mask in which they are blocked.
void unblock_fault_signals();

// What the interrupted instruction did, from the page-fault error code of the x86-64 exception.
bool was_write(const ucontext_t& context);
bool was_instruction_fetch(const ucontext_t& context);

}  // namespace gallocy::os
