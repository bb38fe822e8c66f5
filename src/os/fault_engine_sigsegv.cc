// sigsegv: mprotect and SIGSEGV. Works on every kernel and in every container, but each border between differently
// protected pages is a mapping of the kernel's (vm.max_map_count, 65530 by default, is the limit); neighbours with
// equal protection merge again. System calls on pages that are not accessible fail with EFAULT.
#include <errno.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include "os/fault_engine_uffd.h"
#include "os/os_error.h"
#include "os/signal_hook.h"

namespace gallocy::os {
namespace {

int kernel_protection(Protection protection) {
  switch (protection) {
    case Protection::kNone:
      return PROT_NONE;
    case Protection::kRead:
      return PROT_READ;
    case Protection::kReadWrite:
      return PROT_READ | PROT_WRITE;
  }
  __builtin_unreachable();
}

class SigsegvEngine final : public FaultEngine, private SignalHook::Receiver {
 public:
  explicit SigsegvEngine(FaultHandler& handler) : handler_(handler) {}

  Result<> hook() {
    GALLOCY_ASSIGN(hook_, SignalHook::install(SIGSEGV, *this));
    return {};
  }

  FaultEngineKind kind() const override { return FaultEngineKind::kSigsegv; }
  bool kernel_faults() const override { return false; }

  Result<> add(std::byte*, std::size_t) override { return {}; }  // the mapping is PROT_NONE already
  void remove(std::byte* program_view, std::size_t bytes) override {
    CHECK(::mprotect(program_view, bytes, PROT_NONE) == 0, errno);
  }

  void protect(std::byte* start, std::size_t bytes, Protection, Protection to) override {
    if (::mprotect(start, bytes, kernel_protection(to)) == 0) return;
    // ENOMEM means that a mapping had to be split and the process has vm.max_map_count of them.
    if (errno == ENOMEM) {
      die(static_cast<int>(ErrorCode::kOutOfMemory),
          "gallocy: the sigsegv fault engine needs more memory mappings than vm.max_map_count allows: run `sysctl -w "
          "vm.max_map_count=1048576`, or use another engine (`gallocy doctor` lists them)");
    }
    CHECK(false && "mprotect", errno, static_cast<const void*>(start), bytes);
  }

 private:
  bool on_signal(const siginfo_t& info, const ucontext_t& context) override {
    // Other codes are not about protection (nothing mapped, a protection key); fetching instructions is never allowed.
    if (info.si_code != SEGV_ACCERR || was_instruction_fetch(context)) return false;
    return handler_.fault(reinterpret_cast<std::uint64_t>(info.si_addr),
                          was_write(context) ? FaultKind::kWrite : FaultKind::kRead, /*in_faulting_thread=*/true);
  }

  FaultHandler& handler_;
  std::unique_ptr<SignalHook> hook_;
};

}  // namespace

Result<std::unique_ptr<FaultEngine>> create_sigsegv(FaultHandler& handler) {
  auto engine = std::make_unique<SigsegvEngine>(handler);
  GALLOCY_TRY(engine->hook());
  return engine;
}

}  // namespace gallocy::os
