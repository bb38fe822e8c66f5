// `gallocy status` and `gallocy leave`: what is asked of a member of a running cluster (net/visit.h).
#pragma once

#include "failure.h"
#include "options.h"

namespace gallocy::command {

Outcome<int> member(const MemberOptions& options);

}  // namespace gallocy::command
