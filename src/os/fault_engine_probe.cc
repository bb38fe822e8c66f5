// Finds out by trying which fault engines this machine permits. Looking at version numbers would not do: containers,
// seccomp profiles, sysctls and kernel configurations all decide.
#include <algorithm>
#include <array>
#include <atomic>

#include "base/check.h"
#include "base/ids.h"
#include "os/clock.h"
#include "os/fault_engine.h"
#include "os/page_frames.h"

namespace gallocy::os {
namespace {

constexpr std::size_t kPages = 256;

// Resolves every fault in its range at once.
class Resolver final : public FaultHandler {
 public:
  void watch(FaultEngine& engine, const PageFrames& frames) {
    frames_ = &frames;
    engine_.store(&engine);
  }
  bool fault(std::uint64_t address, FaultKind kind, bool) override {
    FaultEngine* const engine = engine_.load();
    const std::uint64_t base = reinterpret_cast<std::uint64_t>(frames_ == nullptr ? nullptr : frames_->program_view());
    if (engine == nullptr || address - base >= frames_->bytes()) return false;
    auto* const page = reinterpret_cast<std::byte*>(address & ~(kPageBytes - 1));
    const bool write = kind == FaultKind::kWrite;
    engine->protect(page, kPageBytes, write ? Protection::kRead : Protection::kNone,
                    write ? Protection::kReadWrite : Protection::kRead);
    return true;
  }

 private:
  std::atomic<FaultEngine*> engine_{nullptr};
  const PageFrames* frames_ = nullptr;
};

// One page through its whole life without a fault; each step ends the process if the kernel refuses what it promised.
void walk_through(FaultEngine& engine, PageFrames& frames) {
  std::byte* const page = frames.program_view();
  engine.protect(page, kPageBytes, Protection::kNone, Protection::kRead);
  CHECK(std::atomic_ref(*page).load() == std::byte{0});
  engine.protect(page, kPageBytes, Protection::kRead, Protection::kReadWrite);
  std::atomic_ref(*page).store(std::byte{1});
  engine.protect(page, kPageBytes, Protection::kReadWrite, Protection::kRead);
  CHECK(frames.runtime_view()[0] == std::byte{1});
  engine.protect(page, kPageBytes, Protection::kRead, Protection::kNone);
}

double median_fault_us(PageFrames& frames) {
  std::array<std::int64_t, kPages> ns;
  for (std::size_t i = 0; i < kPages; ++i) {
    const std::size_t page = i * 97 % kPages;  // 97 and 256 have no common factor: every page once, scattered
    const std::int64_t start = monotonic_ns();
    std::atomic_ref(frames.program_view()[page * kPageBytes]).load();
    ns[i] = monotonic_ns() - start;
  }
  std::nth_element(ns.begin(), ns.begin() + kPages / 2, ns.end());
  return static_cast<double>(ns[kPages / 2]) / 1000;
}

std::string_view describe(const FaultEngine& engine) {
  switch (engine.kind()) {
    case FaultEngineKind::kUffdSigbus:
      return "page faults are resolved in the faulting thread; system calls on pages that are not here fail (EFAULT)";
    case FaultEngineKind::kUffdThread:
      return engine.kernel_faults()
                 ? "a thread resolves page faults; system calls may touch pages that are not here"
                 : "a thread resolves page faults; system calls on pages that are not here fail (EFAULT) unless root "
                   "allows more: `sysctl -w vm.unprivileged_userfaultfd=1`, or access to /dev/userfaultfd";
    case FaultEngineKind::kSigsegv:
      return "works everywhere; system calls on pages that are not here fail (EFAULT), and vm.max_map_count limits how "
             "finely regions may be shared";
  }
  __builtin_unreachable();
}

Result<FaultEngineProbe> try_engine(FaultEngineKind kind, bool measure) {
  Resolver resolver;
  GALLOCY_ASSIGN(const auto window, Window::reserve(0, kPages * kPageBytes));
  GALLOCY_ASSIGN(const auto frames, PageFrames::map(window->base(), window->bytes()));
  GALLOCY_ASSIGN(const auto engine, FaultEngine::create(kind, resolver));
  GALLOCY_TRY(engine->add(frames->program_view(), frames->bytes()));
  resolver.watch(*engine, *frames);
  walk_through(*engine, *frames);
  FaultEngineProbe probe{.kind = kind,
                         .available = true,
                         .kernel_faults = engine->kernel_faults(),
                         .detail = std::string(describe(*engine))};
  if (measure) {
    GALLOCY_TRY(frames->populate(0, frames->bytes()));
    probe.fault_us = median_fault_us(*frames);
  }
  engine->remove(frames->program_view(), frames->bytes());
  return probe;
}

}  // namespace

std::vector<FaultEngineProbe> probe_fault_engines(bool measure) {
  std::vector<FaultEngineProbe> probes;
  for (const FaultEngineKind kind : kFaultEngineKinds) {
    auto probe = try_engine(kind, measure);
    probes.push_back(probe ? *probe : FaultEngineProbe{.kind = kind, .detail = probe.error().message});
  }
  return probes;
}

}  // namespace gallocy::os
