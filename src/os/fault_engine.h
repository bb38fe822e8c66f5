// FaultEngine: how a node learns that its program touched a page it may not touch, and how it changes what may be touched.
//
// A region is a sparse memfd mapped twice (os/page_frames.h): the *program view*, whose protection is the coherence
// state, and the *runtime view*. An engine sets the protection of the program view and delivers faults on it.
//
// Bodies: uffd-sigbus (userfaultfd with UFFD_FEATURE_SIGBUS: the kernel sends SIGBUS to the faulting thread, which
// resolves its own fault), uffd-thread (a handler thread reads fault messages while the faulting threads sleep in the
// kernel; with a full userfaultfd system calls may touch missing pages too) and sigsegv (mprotect and SIGSEGV).
//
// Threads: protect() may be called by any thread, but calls for overlapping ranges must be ordered by the caller.
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
  // makes the page accessible. `in_faulting_thread` tells which. Returns false if the address is not one of the
  // handler's (then the signal's previous disposition is applied).
  virtual bool fault(std::uint64_t address, FaultKind kind, bool in_faulting_thread) = 0;
};

enum class FaultEngineKind : std::uint8_t { kUffdSigbus, kUffdThread, kSigsegv };

std::string_view name_of(FaultEngineKind kind);                    // "uffd-sigbus", …
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

  // Takes over [program_view, + bytes): a shared mapping of a memfd with nothing accessible. Both page-aligned.
  virtual Result<> add(std::byte* program_view, std::size_t bytes) = 0;
  virtual void remove(std::byte* program_view, std::size_t bytes) = 0;

  // Sets what the program may do with [start, + bytes) (page-aligned, inside one added range) and wakes threads that
  // sleep on it in the kernel. `from` is the present protection of the whole range. For kRead and kReadWrite the frames
  // hold their bytes already (or are holes that read as zero). When it returns, no thread of this process can
  // any more do what the new protection forbids. Async-signal-safe.
  virtual void protect(std::byte* start, std::size_t bytes, Protection from, Protection to) = 0;
};

}  // namespace gallocy::os
