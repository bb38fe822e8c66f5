// For a debugger of the home (scripts/gdb/gallocy.py), before it attaches: a datagram socket with the abstract name
// "gallocy-debug-PID" answers the user's own processes.
//
//   maps OFFSET           a piece of the program's /proc/self/maps, from there on; empty: no more
//   fetch ADDRESS BYTES   brings these bytes of the program's memory to this node; "yes" or "no"
#pragma once

#include <functional>
#include <string>

#include "base/result.h"

namespace gallocy::personality {

// Once, before the program runs. The socket's descriptor, not below `lowest`; a thread of the runtime serves it.
Result<int> serve_debugger(int lowest, std::function<std::string()> maps);

}  // namespace gallocy::personality
