// sigsegv: mprotect and SIGSEGV. Works on every kernel and in every container, but each border between differently
// protected pages is a mapping of the kernel's (vm.max_map_count, 65530 by default, is the limit); neighbours with
// equal protection merge again. System calls on pages that are not accessible fail with EFAULT.
#include <errno.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <map>

#include "os/fault_engine_uffd.h"
#include "os/mutex.h"
#include "os/os_error.h"
#include "os/signal_hook.h"

namespace gallocy::os {
namespace {

int kernel_protection(Protection protection, bool executable) {
  const int execute = executable ? PROT_EXEC : 0;
  switch (protection) {
    case Protection::kNone:
      return PROT_NONE;
    case Protection::kRead:
      return PROT_READ | execute;
    case Protection::kReadWrite:
      return PROT_READ | PROT_WRITE | execute;
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
    const os::MutexLock lock(mu_);
    auto at = reinterpret_cast<std::uint64_t>(start);
    for (const std::uint64_t end = at + bytes; at < end;) {
      const auto [limit, until] = limit_from(at);
      const std::uint64_t stop = std::min(end, until);
      apply(reinterpret_cast<std::byte*>(at), stop - at, std::min(limit, to));
      at = stop;
    }
  }

  // Between protect()s the kernel does not know it.
  void limit(std::byte* start, std::size_t bytes, Protection most) override {
    const os::MutexLock lock(mu_);
    executable_ = true;
    const auto begin = reinterpret_cast<std::uint64_t>(start), end = begin + bytes;
    const Protection behind = limit_from(end).first;
    limits_.erase(limits_.lower_bound(begin), limits_.lower_bound(end));
    limits_[begin] = most;
    limits_.try_emplace(end, behind);
    apply(start, bytes, Protection::kNone);
  }
  bool applies_limits_later() const override { return true; }
  Protection limit_at(std::uint64_t address) const override {
    const os::MutexLock lock(mu_);
    return limit_from(address).first;
  }

 private:
  // The limit at the address, and where the next one begins.
  std::pair<Protection, std::uint64_t> limit_from(std::uint64_t address) const REQUIRES(mu_) {
    const auto next = limits_.upper_bound(address);
    const std::uint64_t until = next == limits_.end() ? ~std::uint64_t{0} : next->first;
    return {next == limits_.begin() ? Protection::kReadWrite : std::prev(next)->second, until};
  }

  void apply(std::byte* start, std::size_t bytes, Protection to) const REQUIRES(mu_) {
    if (::mprotect(start, bytes, kernel_protection(to, executable_)) == 0) return;
    // ENOMEM means that a mapping had to be split and the process has vm.max_map_count of them.
    if (errno == ENOMEM) {
      die(static_cast<int>(ErrorCode::kOutOfMemory),
          "gallocy: the sigsegv fault engine needs more memory mappings than vm.max_map_count allows: run `sysctl -w "
          "vm.max_map_count=1048576`, or use another engine (`gallocy doctor` lists them)");
    }
    CHECK(false && "mprotect", errno, static_cast<const void*>(start), bytes);
  }

  bool on_signal(const siginfo_t& info, const ucontext_t& context) override {
    // Other codes are not about protection (nothing mapped, a protection key).
    if (info.si_code != SEGV_ACCERR || (was_instruction_fetch(context) && !executable_)) return false;
    const auto address = reinterpret_cast<std::uint64_t>(info.si_addr);
    const Protection most = limit_at(address);
    if (most == Protection::kNone || (was_write(context) && most != Protection::kReadWrite)) return false;
    return handler_.fault(address, was_write(context) ? FaultKind::kWrite : FaultKind::kRead,
                          /*in_faulting_thread=*/true);
  }

  FaultHandler& handler_;
  std::unique_ptr<SignalHook> hook_;
  mutable os::Mutex mu_;
  std::map<std::uint64_t, Protection> limits_ GUARDED_BY(mu_);  // each up to the next; before the first: kReadWrite
  std::atomic<bool> executable_{false};
};

}  // namespace

Result<std::unique_ptr<FaultEngine>> create_sigsegv(FaultHandler& handler) {
  auto engine = std::make_unique<SigsegvEngine>(handler);
  GALLOCY_TRY(engine->hook());
  return engine;
}

}  // namespace gallocy::os
