// System calls of patched sites (patched_sites.h), and the patching of sites that trap often.
//
// Each node patches its own copy of a page, when a site has trapped there a few times: a patched and an unpatched copy
// do the same. A copy may travel to a node that has not heard of the slot; that one asks the home, which gives out the
// slots and has never seen an unknown one.
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "personality/guest_memory.h"
#include "personality/patched_entry.h"
#include "personality/process.h"

namespace gallocy::personality {
namespace {

// Patching costs about as much as this many traps.
constexpr std::uint32_t kTrapsBeforePatch = 16;
constexpr std::uint32_t kTried = ~0u;
constexpr std::size_t kMostCountedSites = 4096;

// Eight bytes anywhere within a cache line, which is more than C++ promises.
void replace(std::byte* at, std::uint64_t before, std::uint64_t after) {
  asm volatile("lock cmpxchgq %2, (%1)" : "+a"(before) : "r"(at), "r"(after) : "memory", "cc");
}

}  // namespace

void Process::patched_call(GuestThread& thread, PatchedFrame& frame) {
  const PatchedSite site = site_of(static_cast<std::uint32_t>(frame.go_on));
  const long number = site.number == kNumberInRax ? static_cast<int>(frame.rax) : site.number;
  frame.rax = static_cast<std::uint64_t>(number);
  frame.go_on = site.call_at;
  if (needs_frame(number)) return;  // the instruction is still there, and traps
  const Call call{
      .number = number,
      .arguments = {static_cast<long>(frame.rdi), static_cast<long>(frame.rsi), static_cast<long>(frame.rdx),
                    static_cast<long>(frame.r10), static_cast<long>(frame.r8), static_cast<long>(frame.r9)}};
  const std::int64_t begin_ns = trace_time(thread);
  const long result = serve_plain(thread, call);
  trace_call(thread, call, result, begin_ns);
  queue_deferred(thread);
  if (result == -EINTR && is_repeated(thread, number)) return;
  frame.rax = static_cast<std::uint64_t>(result);
  frame.go_on = site.call_at + kCallBytes;
}

// In the trap by which a patched call returns when there are signals; `context` is the program's behind the call.
void Process::leave_patched_call(GuestThread& thread, ucontext_t& context) {
  queue_deferred(thread);
  thread.signal_deferred.store(0);
  const std::uint64_t mask = kernel_mask(thread.guest_mask);
  std::memcpy(&context.uc_sigmask, &mask, sizeof mask);
  if (thread.must_end.load()) end_thread_quietly(thread);
  if (thread.signal_pending.load() != 0) raw_system_call(SYS_tkill, thread.tid, kKickSignal);
}

// After the first no other comes until the call has returned.
void Process::queue_deferred(GuestThread& thread) {
  if (thread.deferred.number == 0) return;
  queue(thread, thread.deferred);
  thread.deferred.number = 0;
}

void Process::count_trap(std::uint64_t call_at, long number) {
  {
    const os::MutexLock lock(patches_mu_);
    if (traps_.size() >= kMostCountedSites) traps_.clear();
    std::uint32_t& traps = traps_[call_at];
    if (traps == kTried || ++traps < kTrapsBeforePatch) return;
    traps = kTried;
  }
  patch(call_at, number);
}

void Process::patch(std::uint64_t call_at, long number) {
  const std::uint64_t begin = call_at - (kSiteBytes - kCallBytes);
  std::array<std::byte, sizeof(std::uint64_t)> bytes;
  if (!in_guest(begin) || !copy_in(bytes.data(), begin, bytes.size())) return;
  const auto site = recognize_site(call_at, number, std::span(bytes).first<kSiteBytes>());
  if (!site) return;
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kSlot,
                             .words = {site->call_at, static_cast<std::uint32_t>(site->number)}};
  const long slot = is_home() ? slot_for(*site) : questions_.ask(kHome, request);
  if (slot < 0) return;
  set_patched_site(static_cast<std::uint32_t>(slot), *site);
  auto patched = bytes;
  std::ranges::copy(patched_bytes(static_cast<std::uint32_t>(slot)), patched.begin());
  write_site(begin, std::bit_cast<std::uint64_t>(bytes), std::bit_cast<std::uint64_t>(patched));
}

// In this node's frame, whatever the program or the coherence protocol allows: no other node needs to hear of it. If
// the frame has other bytes by now it is left alone.
void Process::write_site(std::uint64_t begin, std::uint64_t before, std::uint64_t after) {
  const std::uint64_t page = begin / kPageBytes * kPageBytes;
  if (nodes_ == 1) {
    const std::lock_guard lock(space_mu_);
    const Area* const area = space_->find(begin);
    if (area == nullptr) return;
    runtime_.memory().limit_here(page, kPageBytes, os::Protection::kReadWrite);
    replace(reinterpret_cast<std::byte*>(begin), before, after);
    runtime_.memory().limit_here(page, kPageBytes, limit_of(area->protection));
    return;
  }
  const auto [file, region] = runtime_.memory().file_behind(begin_);
  const std::uint64_t window =
      page - low_begin_ < low_end_ - low_begin_ ? end_ - kOutsideBytes + (page - low_begin_) : page;
  void* const view =
      ::mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, static_cast<off_t>(window - region));
  if (view == MAP_FAILED) return;
  replace(static_cast<std::byte*>(view) + (begin - page), before, after);
  ::munmap(view, kPageBytes);
}

long Process::slot_for(const PatchedSite& site) {
  const os::MutexLock lock(patches_mu_);
  const auto slot = sites_.slot_for(site);
  if (!slot) return -ENOSPC;
  set_patched_site(*slot, site);
  return *slot;
}

PatchedSite Process::site_of(std::uint32_t slot) {
  PatchedSite site = patched_site(slot);
  if (site.call_at != 0) return site;
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kSite, .words = {slot}};
  std::vector<std::byte> answer;
  (void)questions_.ask(kHome, request, {}, &answer);
  CHECK(answer.size() == sizeof site, slot);
  std::memcpy(&site, answer.data(), sizeof site);
  CHECK(site.call_at != 0, slot);
  set_patched_site(slot, site);
  return site;
}

}  // namespace gallocy::personality
