// Who belonged to a cluster, as far as the log that a server finds on its disk goes: for those who have to find each
// other before the log can go on. Of the last entries it is not known whether they were committed; they count.
#pragma once

#include <map>

#include "base/result.h"
#include "raft/types.h"
#include "vmm/membership.h"

namespace gallocy::vmm {

// Those present. kProtocol: the log is not one of the VMM.
Result<std::map<NodeId, Member>> last_members(const raft::PersistentState& found);

}  // namespace gallocy::vmm
