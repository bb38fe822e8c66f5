#include "personality/moved_thread.h"

#include <cpuid.h>
#include <immintrin.h>
#include <sys/prctl.h>

#include <cstring>
#include <utility>

#include "os/clock.h"

namespace gallocy::personality {

MovedThread MovedThread::take(GuestThread& thread, const ucontext_t& context) {
  MovedThread moved;
  moved.guest_tid = thread.guest_tid;
  std::memcpy(moved.registers.general, context.uc_mcontext.gregs, sizeof moved.registers.general);
  moved.registers.fs = thread.guest_fs;
  moved.belongs_on = thread.belongs_on;
  moved.stay_ns = thread.stay_ns;
  moved.visits = thread.visits;
  moved.helper = thread.helper;
  moved.mask = thread.guest_mask;
  moved.clear_tid = thread.clear_tid;
  moved.robust_list = thread.robust_list;
  moved.signal_stack = thread.guest_stack;
  moved.held_count = thread.held_count;
  moved.held_pages = thread.held_pages;
  moved.processor_ns = thread.processor_ns_elsewhere + os::thread_processor_ns();
  ::prctl(PR_GET_NAME, moved.name);
  const os::MutexLock lock(thread.mu);
  moved.pending_count = std::exchange(thread.pending_count, 0);
  moved.pending = thread.pending;
  thread.signal_pending.store(0);
  return moved;
}

void MovedThread::give(GuestThread& thread) const {
  thread.guest_tid = guest_tid;
  thread.guest_fs = registers.fs;
  thread.belongs_on = belongs_on;
  thread.stay_ns = stay_ns;
  thread.visits = false;
  thread.helper = helper;
  thread.leave_at_ns = visits ? os::monotonic_ns() + stay_ns : 0;
  thread.guest_mask = mask;
  thread.clear_tid = clear_tid;
  thread.robust_list = robust_list;
  thread.guest_stack = signal_stack;
  thread.held_count = held_count;
  thread.held_pages = held_pages;
  thread.processor_ns_elsewhere = processor_ns - os::thread_processor_ns();
  ::prctl(PR_SET_NAME, name);
  const os::MutexLock lock(thread.mu);
  thread.pending_count = pending_count;
  thread.pending = pending;
}

// Where each component of the extended state lies (Intel SDM vol. 1, 13.5: CPUID leaf 0xd).
std::uint64_t state_layout() {
  constexpr unsigned kLeaf = 0xd, kComponents = 64;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(1, 0, &a, &b, &c, &d) == 0 || (c & bit_OSXSAVE) == 0) return 0;
  unsigned low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  std::uint64_t enabled = std::uint64_t{high} << 32 | low, layout = enabled;
  for (unsigned i = 2; i < kComponents; ++i) {
    if ((enabled >> i & 1) == 0 || __get_cpuid_count(kLeaf, i, &a, &b, &c, &d) == 0) continue;
    layout = (layout ^ (std::uint64_t{a} << 32 | b)) * 0x9e37'79b9'7f4a'7c15;
  }
  return layout;
}

std::vector<std::byte> encode(const MovedThread& thread, std::span<const std::byte> state) {
  std::vector<std::byte> bytes(sizeof thread + state.size());
  std::memcpy(bytes.data(), &thread, sizeof thread);
  std::memcpy(bytes.data() + sizeof thread, state.data(), state.size());
  return bytes;
}

std::optional<MovedThread> decode_moved_thread(std::span<const std::byte> bytes, std::span<const std::byte>& state) {
  MovedThread thread;
  if (bytes.size() <= sizeof thread) return std::nullopt;
  std::memcpy(static_cast<void*>(&thread), bytes.data(), sizeof thread);
  state = bytes.subspan(sizeof thread);
  if (thread.pending_count > thread.pending.size() || thread.held_count > thread.held_pages.size()) return std::nullopt;
  return thread;
}

}  // namespace gallocy::personality
