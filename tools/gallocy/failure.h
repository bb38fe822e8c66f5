// A failure of the command: the line that is printed after "gallocy: ", and the exit status. The library's errors
// convert to it; two statuses are those of a shell instead: 127 (program not found) and 126 (it cannot be executed).
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "base/result.h"

namespace gallocy::command {

struct Failure {
  int status = 1;
  std::string message;

  Failure(int exit_status_, std::string line) : status(exit_status_), message(std::move(line)) {}
  Failure(Error error) : status(exit_status(error)), message(std::move(error.message)) {}  // NOLINT: a conversion
};

template <typename T = void>
using Outcome = tl::expected<T, Failure>;

inline constexpr int kProgramNotFound = 127, kProgramNotExecutable = 126;

inline tl::unexpected<Failure> fail_with(ErrorCode code, std::string message) {
  return tl::unexpected<Failure>(Failure(static_cast<int>(code), std::move(message)));
}
inline tl::unexpected<Failure> fail_with(int status, std::string message) {
  return tl::unexpected<Failure>(Failure(status, std::move(message)));
}

}  // namespace gallocy::command
