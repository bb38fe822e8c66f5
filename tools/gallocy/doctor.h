// `gallocy doctor`: what this machine offers to a node, in words, and what to do about what is missing.
#pragma once

#include "options.h"

namespace gallocy::command {

// 0 if a node can run here, 69 if not.
int doctor(const DoctorOptions& options);

}  // namespace gallocy::command
