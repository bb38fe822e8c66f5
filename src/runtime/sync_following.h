// What a node's synchronisation core has to know of the VMM's log: who is gone, and where homes are. Pure.
#pragma once

#include <vector>

#include "sync/core.h"
#include "vmm/machine.h"

namespace gallocy::runtime {

// Whom a node that joins introduces itself without (sync::Core::introduce).
std::vector<NodeId> gone_before(const vmm::Machine& machine);

// Who is passed over as a home, in an open cluster. The home of all objects is the member with the lowest number; when
// that one is about to leave, its homes move, and they move back if it stays. Who joins while nobody else is left
// that is not about to leave is passed over, too: a newcomer must not become the home of what others know.
sync::HomesMoved homes_moved(const vmm::Machine& machine);

}  // namespace gallocy::runtime
