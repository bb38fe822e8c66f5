#include "os/os_error.h"

#include <errno.h>
#include <fmt/format.h>
#include <string.h>

namespace gallocy::os {
namespace {

ErrorCode code_of(int errnum) {
  switch (errnum) {
    case ENOMEM:
      return ErrorCode::kOutOfMemory;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return ErrorCode::kNoSpace;
    case EPERM:
    case EACCES:
      return ErrorCode::kNotPermitted;
    case ENOENT:
      return ErrorCode::kNotFound;
    case EEXIST:
      return ErrorCode::kExists;
    case EADDRINUSE:
      return ErrorCode::kAddressInUse;
    case ENOSYS:
    case EOPNOTSUPP:
      return ErrorCode::kUnsupported;
    default:
      return ErrorCode::kOsError;
  }
}

}  // namespace

std::string os_error_text(int errnum) {
  char text[128];
  return ::strerror_r(errnum, text, sizeof text);  // the GNU one: thread-safe, returns the text
}

tl::unexpected<Error> os_failure(int errnum, std::string_view what) {
  return fail(code_of(errnum), fmt::format("{}: {}", what, os_error_text(errnum)));
}

}  // namespace gallocy::os
