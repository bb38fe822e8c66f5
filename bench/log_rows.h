// The rows of group `log`: commits of the VMM log, alone and beside etcd's; what a death costs the survivors.
#pragma once

#include "core_rows.h"

namespace gallocy::bench {

std::vector<Plan> log_plans(const Programs& programs, Scale scale);

}  // namespace gallocy::bench
