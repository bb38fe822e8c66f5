#include "personality/patched_entry.h"

#include <cpuid.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "personality/guest_memory.h"

// A site jumps to the thunk of its slot, which loads the slot's number. Until the store to the selector (%gs:24) the
// thread is in the program, from then on in the runtime; `movw` also sets in_patched_call.
//
// Only rcx, r11 and rax may change, as by the `syscall` instruction. The stack is the thread's signal stack: there the
// kernel pushes the frames of nested page faults below ours.
asm(R"(
.text
.globl gallocy_patched_thunks, gallocy_patched_open_thunks, gallocy_patched_call, gallocy_patched_begun
.globl gallocy_patched_done, gallocy_patched_leaving, gallocy_patched_left
.hidden gallocy_patched_sites
.balign 16
gallocy_patched_thunks:            # 10 bytes each
.set slot, 0
.rept 1008
  .byte 0xb9
  .long slot                       # mov $slot, %ecx
  .byte 0xe9
  .long gallocy_patched_call - . - 4
.set slot, slot + 1
.endr
gallocy_patched_open_thunks:       # 15 bytes each
.rept 16
  mov 8(%rsp), %r9                 # which the jump has replaced
  .byte 0xb9
  .long slot
  .byte 0xe9
  .long gallocy_patched_call - . - 4
.set slot, slot + 1
.endr
gallocy_patched_call:              # ecx: slot
  cmpb $0, %gs:28                  # GuestThread::traps_only
  jne 2f
  movw $0x0100, %gs:24
gallocy_patched_begun:
  mov %rsp, %r11
  mov %gs:72, %rsp
  push %r11
  push %rcx
  push %r9
  push %r8
  push %r10
  push %rdx
  push %rsi
  push %rdi
  push %rax
  push %rbx
  mov %gs:0, %rbx
  rdfsbase %rax
  mov %rax, 16(%rbx)
  mov 8(%rbx), %rax
  wrfsbase %rax
  mov 80(%rbx), %rcx
  mov $0xe7, %eax                  # x87, SSE, AVX, AVX-512
  xor %edx, %edx
  xsavec (%rcx)
  ldmxcsr gallocy_default_mxcsr(%rip)
  mov %rbx, %rdi
  lea 8(%rsp), %rsi
  call gallocy_guest_patched_call  # (thread, frame)
  mov 80(%rbx), %rcx
  mov $0xe7, %eax
  xor %edx, %edx
  xrstor (%rcx)
  mov 16(%rbx), %rax
  wrfsbase %rax
  pop %rbx
  pop %rax
  pop %rdi
  pop %rsi
  pop %rdx
  pop %r10
  pop %r8
  pop %r9
  pop %rcx
  pop %rsp
  mov %rax, %r11
  movw $0x0001, %gs:24
gallocy_patched_done:              # rcx: where to, r11: the result
  cmpw $0, %gs:26                  # signal_pending and signal_deferred
  jne 1f
  jmp *%rcx
1:
  lea -144(%rsp), %rsp             # below the red zone
gallocy_patched_leaving:
  mov %rax, (%rsp)
  mov %rcx, 8(%rsp)
  mov $0x6c70, %eax
  syscall
gallocy_patched_left:
  ud2
2:                                 # as if the site were not patched; the kernel or the trap gets it
  lea gallocy_patched_sites(%rip), %r11
  shl $4, %rcx
  add %rcx, %r11
  mov 8(%r11), %ecx
  test %ecx, %ecx
  js 3f
  mov %ecx, %eax
3:
  jmp *(%r11)

.section .rodata
gallocy_default_mxcsr: .long 0x1f80
.text
)");

extern "C" {
extern const char gallocy_patched_thunks[], gallocy_patched_open_thunks[], gallocy_patched_call[],
    gallocy_patched_begun[], gallocy_patched_done[], gallocy_patched_leaving[], gallocy_patched_left[];
[[gnu::visibility("hidden")]] gallocy::personality::PatchedSite gallocy_patched_sites[gallocy::personality::kSlots];
}

namespace gallocy::personality {
namespace {

constexpr std::size_t kThunkBytes = 10, kOpenThunkBytes = 15;
constexpr std::size_t kTableBytes = kSlots * sizeof(std::uint64_t);
constexpr std::uint64_t kLeavingBytes = 144;  // of the program's stack: the red zone, and two words
static_assert(sizeof(PatchedSite) == 16 && kNumberedSlots == 1008 && kOpenSlots == 16 && kLeavePatchedCall == 0x6c70);
static_assert(offsetof(PatchedFrame, go_on) == 56 && offsetof(PatchedFrame, rsp) == 64);
static_assert(offsetof(GuestThread, selector) == 24 && offsetof(GuestThread, in_patched_call) == 25);
static_assert(offsetof(GuestThread, signal_pending) == 26 && offsetof(GuestThread, signal_deferred) == 27);
static_assert(offsetof(GuestThread, traps_only) == 28 && offsetof(GuestThread, signal_stack_top) == 72);
static_assert(offsetof(GuestThread, vector_state) == 80);

bool has_xsavec() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_OSXSAVE) == 0) return false;
  return __get_cpuid_count(0xd, 1, &a, &b, &c, &d) != 0 && (a & 1u << 1) != 0;
}

std::uint64_t address_of(const char* label) { return reinterpret_cast<std::uint64_t>(label); }

}  // namespace

bool map_patched_slots() {
  if (!has_xsavec()) return false;
  void* const table = ::mmap(reinterpret_cast<void*>(kSlotTable), kTableBytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (table == MAP_FAILED) return false;
  auto* const pointers = static_cast<std::uint64_t*>(table);
  for (std::uint32_t slot = 0; slot < kSlots; ++slot) {
    pointers[slot] = slot < kNumberedSlots
                         ? address_of(gallocy_patched_thunks) + slot * kThunkBytes
                         : address_of(gallocy_patched_open_thunks) + (slot - kNumberedSlots) * kOpenThunkBytes;
  }
  CHECK(::mprotect(table, kTableBytes, PROT_READ) == 0, errno);
  return true;
}

void unmap_patched_slots() { ::munmap(reinterpret_cast<void*>(kSlotTable), kTableBytes); }

PatchedSite patched_site(std::uint32_t slot) {
  if (slot >= kSlots) return {};
  PatchedSite site = gallocy_patched_sites[slot];
  site.call_at = std::atomic_ref(gallocy_patched_sites[slot].call_at).load(std::memory_order_acquire);
  site.number = gallocy_patched_sites[slot].number;
  return site;
}

void set_patched_site(std::uint32_t slot, const PatchedSite& site) {
  CHECK(slot < kSlots);
  gallocy_patched_sites[slot].number = site.number;
  std::atomic_ref(gallocy_patched_sites[slot].call_at).store(site.call_at, std::memory_order_release);
}

void leave_stubs(ucontext_t& context) {
  greg_t* const r = context.uc_mcontext.gregs;
  const auto at = static_cast<std::uint64_t>(r[REG_RIP]);
  if (at < address_of(gallocy_patched_thunks) || at >= address_of(gallocy_patched_left)) return;
  if (at >= address_of(gallocy_patched_done)) {
    if (at >= address_of(gallocy_patched_leaving)) r[REG_RSP] += kLeavingBytes;
    r[REG_RAX] = r[REG_R11];
    r[REG_RIP] = r[REG_RCX];
    return;
  }
  std::uint64_t slot = static_cast<std::uint32_t>(r[REG_RCX]);
  if (at < address_of(gallocy_patched_open_thunks)) {
    slot = (at - address_of(gallocy_patched_thunks)) / kThunkBytes;
  } else if (at < address_of(gallocy_patched_call)) {
    slot = kNumberedSlots + (at - address_of(gallocy_patched_open_thunks)) / kOpenThunkBytes;
  } else if (at > address_of(gallocy_patched_begun)) {
    return;  // the runtime's part
  }
  const PatchedSite site = patched_site(static_cast<std::uint32_t>(slot));
  if (site.call_at != 0) r[REG_RIP] = static_cast<greg_t>(site.call_at - (kSiteBytes - kCallBytes));
}

void defer_signal(GuestThread& thread, int number, const siginfo_t& info, ucontext_t& context) {
  thread.deferred = {number, info};
  thread.signal_deferred.store(1);
  const std::uint64_t all = kernel_mask(~std::uint64_t{0});
  std::memcpy(&context.uc_sigmask, &all, sizeof all);
}

bool finish_leaving(ucontext_t& context) {
  greg_t* const r = context.uc_mcontext.gregs;
  if (static_cast<std::uint64_t>(r[REG_RIP]) != address_of(gallocy_patched_left)) return false;
  std::uint64_t outcome[2];
  if (!copy_in(outcome, static_cast<std::uint64_t>(r[REG_RSP]), sizeof outcome)) return false;
  r[REG_RAX] = static_cast<greg_t>(outcome[0]);
  r[REG_RIP] = static_cast<greg_t>(outcome[1]);
  r[REG_RSP] += kLeavingBytes;
  return true;
}

}  // namespace gallocy::personality
