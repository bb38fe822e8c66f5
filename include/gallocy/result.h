// Result<T>: a value or an Error (errors.h). Nothing in the library throws. The one place that names tl::expected
// (std::expected is C++23).
//
//   auto region = node.map({.name = "grid", .bytes = 1 << 30});
//   if (!region) { std::cerr << region.error().message << '\n'; return gallocy::exit_status(region.error()); }
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "gallocy/errors.h"

namespace gallocy {

template <typename T = void>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(ErrorCode code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}

inline int exit_status(const Error& error) { return static_cast<int>(error.code); }

}  // namespace gallocy
