// `gallocy node`: a node of a cluster that outlives programs. Its program is "serve memory".
#pragma once

#include "failure.h"
#include "options.h"

namespace gallocy::command {

// Returns when the node has left.
Outcome<int> serve(const ServeOptions& options);

}  // namespace gallocy::command
