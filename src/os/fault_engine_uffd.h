// What the two userfaultfd engines share: everything but the way a fault is delivered.
#pragma once

#include <errno.h>
#include <sys/mman.h>

#include "base/check.h"
#include "os/fault_engine.h"
#include "os/uffd.h"

namespace gallocy::os {

class UffdEngine : public FaultEngine {
 public:
  Result<> add(std::byte* program_view, std::size_t bytes) override { return uffd_->add(program_view, bytes); }
  void remove(std::byte* program_view, std::size_t bytes) override { uffd_->remove(program_view, bytes); }

  void protect(std::byte* start, std::size_t bytes, Protection from, Protection to) override {
    if (to == Protection::kNone) return uffd_->drop(start, bytes);
    const PageMode mode = to == Protection::kRead ? PageMode::kWriteProtected : PageMode::kWritable;
    if (from == Protection::kNone || from == to) return uffd_->install(start, bytes, mode);
    uffd_->set_mode(start, bytes, mode);
  }

  // The kernel's own protection of the mapping comes before userfaultfd.
  void limit(std::byte* start, std::size_t bytes, Protection most) override {
    const int protection = most == Protection::kNone   ? PROT_NONE
                           : most == Protection::kRead ? PROT_READ | PROT_EXEC
                                                       : PROT_READ | PROT_WRITE | PROT_EXEC;
    CHECK(::mprotect(start, bytes, protection) == 0, errno, static_cast<const void*>(start), bytes);
  }

 protected:
  explicit UffdEngine(std::unique_ptr<Uffd> uffd) : uffd_(std::move(uffd)) {}
  const std::unique_ptr<Uffd> uffd_;
};

Result<std::unique_ptr<FaultEngine>> create_uffd_sigbus(FaultHandler& handler);
Result<std::unique_ptr<FaultEngine>> create_uffd_thread(FaultHandler& handler);
Result<std::unique_ptr<FaultEngine>> create_sigsegv(FaultHandler& handler);

}  // namespace gallocy::os
