// What a node's synchronisation core has to know of the VMM's log: who is gone. Pure.
#pragma once

#include <vector>

#include "vmm/machine.h"

namespace gallocy::runtime {

// Whether the node was the home of all synchronisation objects when it left: there was none with a lower number
// (sync::Options::founders). All nodes must be of one opinion, so the log decides.
bool was_sync_home(const vmm::Machine& machine, NodeId node);

// Whom a node that joins introduces itself without (sync::Core::introduce).
std::vector<NodeId> gone_before(const vmm::Machine& machine);

}  // namespace gallocy::runtime
