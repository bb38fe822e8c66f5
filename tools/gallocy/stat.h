// `gallocy stat`: the counters of a cluster that runs or has ended.
#pragma once

#include "failure.h"
#include "options.h"

namespace gallocy::command {

Outcome<int> stat(const StatOptions& options);

}  // namespace gallocy::command
