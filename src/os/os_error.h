// Failed system calls as Error values.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace gallocy::os {

// "<what>: <text of errnum>". The code is kOutOfMemory, kNoSpace, kNotPermitted, kAddressInUse, … where errnum says so,
// else kOsError. `what` names the call's purpose and object; add what to do where that is known.
tl::unexpected<Error> os_failure(int errnum, std::string_view what);

// The text of errnum, as strerror gives it, thread-safe.
std::string os_error_text(int errnum);

}  // namespace gallocy::os
