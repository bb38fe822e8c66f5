// FaultEngine: how a node learns that its program touched a page it may not touch, and how it changes what may be
// touched.
//
// A region is a sparse memfd mapped twice (os/page_frames.h): the *program view*, whose protection is the coherence
// state, and the *runtime view*. An engine sets the protection of the program view and delivers faults on it.
//
// Bodies: uffd-sigbus (userfaultfd with UFFD_FEATURE_SIGBUS: the kernel sends SIGBUS to the faulting thread, which
// resolves its own fault), uffd-thread (a handler thread reads fault messages while the faulting threads sleep in the
// kernel; with a full userfaultfd system calls may touch missing pages too) and sigsegv (mprotect and SIGSEGV).
//
// Threads: protect() may be called by any thread, but calls for overlapping ranges must be ordered by the caller.
// Program threads touch pages at any time meanwhile, so a fault may be delivered for a page that has become accessible,
// once or several times, and several threads may fault on one page at once.
//
// Faults on accessible pages. Besides that race, the kernel drops page table entries by itself when it swaps a frame
// out. So a handler that finds the access permitted already must not just return (in uffd-thread the thread would sleep
// for ever, and a swapped page would fault for ever): it has the present protection applied again,
// protect(page, kPageBytes, now, now), in order with other calls for that page.
//
// What a program may not do: with the in-thread engines, touch global memory while SIGSEGV and SIGBUS are blocked, or
// install its own handlers for them without passing on (os/signal_hook.h); with any, use global memory in a forked
// child (os/page_frames.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gallocy::os {

enum class Protection : std::uint8_t { kNone, kRead, kReadWrite };
enum class FaultKind : std::uint8_t { kRead, kWrite };

class FaultHandler {
 public:
  virtual ~FaultHandler() = default;
  // In-thread engines call this on the faulting thread, in a signal handler, and retry the access when it returns.
  // uffd-thread calls it on its handler thread; it must not wait there: the faulting thread goes on when protect()
  // makes the page accessible. `in_faulting_thread` tells which. `address` is exact, not rounded to the page. Returns
  // false if the address is not one of the handler's: in-thread engines offer it every bad access of the program. Then
  // the signal's previous disposition is applied (uffd-thread: the thread gets SIGSEGV).
  virtual bool fault(std::uint64_t address, FaultKind kind, bool in_faulting_thread) = 0;
};

enum class FaultEngineKind : std::uint8_t { kUffdSigbus, kUffdThread, kSigsegv };
// In order of preference.
inline constexpr FaultEngineKind kFaultEngineKinds[] = {FaultEngineKind::kUffdSigbus, FaultEngineKind::kSigsegv,
                                                        FaultEngineKind::kUffdThread};

std::string_view name_of(FaultEngineKind kind);  // "uffd-sigbus", …
Result<FaultEngineKind> fault_engine_by_name(std::string_view name);

// What this machine permits, found by trying. `detail` is a sentence for `gallocy doctor`.
struct FaultEngineProbe {
  FaultEngineKind kind;
  bool available = false;
  bool kernel_faults = false;  // system calls may touch missing pages
  double fault_us = 0;         // median of a resolved local read fault, 0 when not available or not measured
  std::string detail;
};
// In order of preference. With measure, each available engine resolves some hundred faults (about 2 ms).
std::vector<FaultEngineProbe> probe_fault_engines(bool measure);

class FaultEngine {
 public:
  static Result<std::unique_ptr<FaultEngine>> create(FaultEngineKind kind, FaultHandler& handler);
  virtual ~FaultEngine() = default;

  virtual FaultEngineKind kind() const = 0;
  virtual bool kernel_faults() const = 0;

  // Takes over [program_view, + bytes): a PROT_NONE shared mapping of a memfd (PageFrames). Both page-aligned. All of
  // it is kNone at first. remove() makes it inaccessible again and lets go of it: no thread of the program may touch it
  // any more, and the handler gets no fault of it after remove() has returned (uffd-thread: it waits for a fault()
  // under way, so hold no lock that fault() takes).
  virtual Result<> add(std::byte* program_view, std::size_t bytes) = 0;
  virtual void remove(std::byte* program_view, std::size_t bytes) = 0;

  // Sets what the program may do with [start, + bytes) (page-aligned, inside one added range) and wakes threads that
  // sleep on it in the kernel. `from` is the present protection of the whole range; equal to `to` it applies it again.
  // For kRead and kReadWrite the frames hold their bytes already; holes get zeroed frames when they are made accessible
  // or touched. When it returns, no thread of this process can any more do what the new protection forbids (but a
  // system call that pinned the page before, such as direct I/O, may). One call for a run of pages is much cheaper than
  // many. Async-signal-safe, does not allocate. Where the kernel has no memory it ends the process with one line.
  virtual void protect(std::byte* start, std::size_t bytes, Protection from, Protection to) = 0;

  // The most that the program may do with [start, + bytes), whatever protect() says, for programs that protect memory
  // themselves; kReadWrite at first. Also makes the range executable where it is readable. An access that only the
  // limit forbids is not the engine's: the program gets its SIGSEGV. Where applies_limits_later() is true, protect()
  // has to be called again for pages that are accessible now. Calls are ordered with protect() by the caller.
  virtual void limit(std::byte* start, std::size_t bytes, Protection most) = 0;
  virtual bool applies_limits_later() const { return false; }
  virtual Protection limit_at(std::uint64_t) const { return Protection::kReadWrite; }
};

}  // namespace gallocy::os
