// The floor under our page faults: what it costs on this machine to take one local fault and resolve it with the least
// that each mechanism needs. Written against the kernel only, so that it owes nothing to the code it is compared with.
//
// One measurement touches every page of a fresh shared mapping once, in scattered order, and times each access. The
// process's SIGBUS and SIGSEGV handlers are replaced meanwhile: call from one thread, with no gallocy node in the
// process.
#pragma once

#include <cstddef>
#include <optional>

#include "spread.h"

namespace gallocy::bench {

// In microseconds per fault; empty where the machine does not permit the mechanism.
std::optional<Spread> fault_by_uffd_continue(std::size_t pages);   // SIGBUS in the thread, UFFDIO_CONTINUE
std::optional<Spread> fault_by_uffd_unprotect(std::size_t pages);  // SIGBUS in the thread, write protection cleared
std::optional<Spread> fault_by_mprotect(std::size_t pages);        // SIGSEGV in the thread, mprotect
std::optional<Spread> fault_in_kernel(std::size_t pages);          // the kernel's own minor fault: no user code at all

// The cheapest way to resolve a fault in user code: the least median of uffd_continue and mprotect.
std::optional<Spread> cheapest_fault(std::size_t pages);

}  // namespace gallocy::bench
