#include "personality/signal_frame.h"

#include <algorithm>
#include <cstring>

#include "personality/guest_memory.h"

namespace gallocy::personality {
namespace {

// The kernel's struct rt_sigframe; its ucontext is shorter than the C library's.
constexpr std::size_t kContextBytes = 304;
static_assert(offsetof(ucontext_t, uc_sigmask) + sizeof(std::uint64_t) == kContextBytes);
constexpr std::size_t kFrameBytes = 8 + kContextBytes + sizeof(siginfo_t);
static_assert(sizeof(siginfo_t) == 128);

constexpr std::uint64_t kRedZoneBytes = 128;
// Of the floating point state: where the kernel describes what follows the legacy part (struct _fpx_sw_bytes).
constexpr std::size_t kLegacyStateBytes = 512;
constexpr std::size_t kSoftwareAt = 464;
constexpr std::uint32_t kStateMagic = 0x46505853;

std::size_t state_bytes(const void* state) {
  struct {
    std::uint32_t magic, bytes;
  } software;
  std::memcpy(&software, static_cast<const std::byte*>(state) + kSoftwareAt, sizeof software);
  return software.magic == kStateMagic ? software.bytes : kLegacyStateBytes;
}

bool is_on(const stack_t& stack, std::uint64_t sp) {
  return (stack.ss_flags & SS_DISABLE) == 0 && sp - reinterpret_cast<std::uint64_t>(stack.ss_sp) <= stack.ss_size;
}

}  // namespace

bool push_signal_frame(GuestThread& thread, const GuestAction& action, int number, const siginfo_t& info,
                       ucontext_t& context) {
  greg_t* const registers = context.uc_mcontext.gregs;
  auto sp = static_cast<std::uint64_t>(registers[REG_RSP]);
  const bool to_alternate = (action.flags & SA_ONSTACK) != 0 && (thread.guest_stack.ss_flags & SS_DISABLE) == 0;
  if (to_alternate && !is_on(thread.guest_stack, sp)) {
    sp = reinterpret_cast<std::uint64_t>(thread.guest_stack.ss_sp) + thread.guest_stack.ss_size;
  } else {
    sp -= kRedZoneBytes;
  }
  const std::size_t floating_bytes = state_bytes(context.uc_mcontext.fpregs);
  sp = (sp - floating_bytes) & ~std::uint64_t{63};
  const std::uint64_t floating_at = sp;
  sp = ((sp - kFrameBytes) & ~std::uint64_t{15}) - 8;

  std::byte frame[kFrameBytes];
  std::memcpy(frame, &action.restorer, 8);
  std::memcpy(frame + 8, &context, kContextBytes);
  std::memcpy(frame + 8 + kContextBytes, &info, sizeof info);
  const auto in_context = [&](std::size_t offset) { return frame + 8 + offset; };
  // A forked child's rt_sigreturn is the kernel's: it must find what the kernel knows.
  if (thread.is_forked_child) {
    std::memcpy(&thread.guest_mask, &context.uc_sigmask, 8);
  } else {
    std::memcpy(in_context(offsetof(ucontext_t, uc_stack)), &thread.guest_stack, sizeof(stack_t));
  }
  const std::uint64_t mask_before = thread.mask_to_restore.value_or(thread.guest_mask);
  thread.mask_to_restore.reset();
  std::memcpy(in_context(offsetof(ucontext_t, uc_sigmask)), &mask_before, 8);
  std::memcpy(in_context(offsetof(ucontext_t, uc_mcontext) + offsetof(mcontext_t, fpregs)), &floating_at, 8);
  if (!copy_out(floating_at, context.uc_mcontext.fpregs, floating_bytes) || !copy_out(sp, frame, sizeof frame)) {
    return false;
  }

  registers[REG_RSP] = static_cast<greg_t>(sp);
  registers[REG_RIP] = static_cast<greg_t>(action.handler);
  registers[REG_RDI] = number;
  registers[REG_RSI] = static_cast<greg_t>(sp + 8 + kContextBytes);
  registers[REG_RDX] = static_cast<greg_t>(sp + 8);
  registers[REG_RAX] = 0;
  constexpr greg_t kDirectionTrapResume = 0x10500;
  registers[REG_EFL] &= ~kDirectionTrapResume;
  thread.guest_mask |= action.mask;
  if ((action.flags & SA_NODEFER) == 0) thread.guest_mask |= std::uint64_t{1} << (number - 1);
  const std::uint64_t mask = kernel_mask(thread.guest_mask);
  std::memcpy(&context.uc_sigmask, &mask, sizeof mask);
  return true;
}

bool pop_signal_frame(GuestThread& thread, ucontext_t& context) {
  const auto at = static_cast<std::uint64_t>(context.uc_mcontext.gregs[REG_RSP]);
  ucontext_t saved;
  if (!copy_in(&saved, at, kContextBytes)) return false;
  const greg_t segments = context.uc_mcontext.gregs[REG_CSGSFS];
  std::memcpy(context.uc_mcontext.gregs, saved.uc_mcontext.gregs, sizeof saved.uc_mcontext.gregs);
  context.uc_mcontext.gregs[REG_CSGSFS] = segments;
  const auto floating_at = reinterpret_cast<std::uint64_t>(saved.uc_mcontext.fpregs);
  if (floating_at != 0) {
    std::byte legacy[kLegacyStateBytes];
    if (!copy_in(legacy, floating_at, sizeof legacy)) return false;
    const std::size_t bytes = std::min(state_bytes(legacy), state_bytes(context.uc_mcontext.fpregs));
    if (!copy_in(context.uc_mcontext.fpregs, floating_at, bytes)) return false;
  }
  std::memcpy(&thread.guest_mask, &saved.uc_sigmask, 8);
  thread.guest_stack = saved.uc_stack;
  const std::uint64_t mask = kernel_mask(thread.guest_mask);
  std::memcpy(&context.uc_sigmask, &mask, sizeof mask);
  return true;
}

}  // namespace gallocy::personality
