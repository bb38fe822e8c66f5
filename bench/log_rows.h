// The rows of group `log`: what a death costs the survivors.
#pragma once

#include "core_rows.h"

namespace gallocy::bench {

std::vector<Plan> log_plans(const Programs& programs, Scale scale);

}  // namespace gallocy::bench
