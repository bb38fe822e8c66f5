// The rows of group `durable`: what transactions on durable memory cost.
#pragma once

#include "core_rows.h"

namespace gallocy::bench {

std::vector<Plan> durable_plans(const Programs& programs, Scale scale);

}  // namespace gallocy::bench
