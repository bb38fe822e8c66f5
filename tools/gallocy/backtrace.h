// Backtraces of programs of `gallocy run`, by libdw (elfutils): it reads .eh_frame, .debug_frame and debugging
// information, also of separate files.
#pragma once

#include <string>

#include "personality/backtrace.h"

namespace gallocy::command {

std::string backtrace(const personality::BacktraceTask& task);

}  // namespace gallocy::command
