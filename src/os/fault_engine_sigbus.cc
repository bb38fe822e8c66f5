// uffd-sigbus: the kernel answers a fault on a registered page with SIGBUS to the faulting thread, which resolves it
// itself. No other thread has to wake up, so it is the fastest way where the runtime can answer at once. System calls
// on pages that are not accessible fail with EFAULT.
#include "os/fault_engine_uffd.h"
#include "os/signal_hook.h"

namespace gallocy::os {
namespace {

class UffdSigbusEngine final : public UffdEngine, private SignalHook::Receiver {
 public:
  UffdSigbusEngine(std::unique_ptr<Uffd> uffd, FaultHandler& handler)
      : UffdEngine(std::move(uffd)), handler_(handler) {}

  Result<> hook() {
    GALLOCY_ASSIGN(hook_, SignalHook::install(SIGBUS, *this));
    return {};
  }

  FaultEngineKind kind() const override { return FaultEngineKind::kUffdSigbus; }
  bool kernel_faults() const override { return false; }

 private:
  bool on_signal(const siginfo_t& info, const ucontext_t& context) override {
    if (info.si_code != BUS_ADRERR) return false;  // a memory failure, or a misaligned access
    return handler_.fault(reinterpret_cast<std::uint64_t>(info.si_addr),
                          was_write(context) ? FaultKind::kWrite : FaultKind::kRead, /*in_faulting_thread=*/true);
  }

  FaultHandler& handler_;
  std::unique_ptr<SignalHook> hook_;
};

}  // namespace

Result<std::unique_ptr<FaultEngine>> create_uffd_sigbus(FaultHandler& handler) {
  GALLOCY_ASSIGN(auto uffd, Uffd::open(UffdDelivery::kSigbus));
  auto engine = std::make_unique<UffdSigbusEngine>(std::move(uffd), handler);
  GALLOCY_TRY(engine->hook());
  return engine;
}

}  // namespace gallocy::os
