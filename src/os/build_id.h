// The identity of the running program: nodes of a cluster must run the same code, because functions travel as offsets
// into it.
#pragma once

#include <string>

namespace gallocy::os {

// 32 hexadecimal digits: a digest of the GNU build-id notes of the main executable and, where gallocy is a shared
// library, of that library. A program linked without a note (--build-id=none) is identified by the bytes of its file.
std::string build_id();

}  // namespace gallocy::os
