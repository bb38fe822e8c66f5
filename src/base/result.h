// The Result of the public interface, and the two macros that pass an error on.
#pragma once

#include "gallocy/result.h"

#define GALLOCY_CONCAT_INNER(a, b) a##b
#define GALLOCY_CONCAT(a, b) GALLOCY_CONCAT_INNER(a, b)

// GALLOCY_TRY(expr): returns the error of a Result<> from the calling function.
#define GALLOCY_TRY(expr)                                                    \
  do {                                                                       \
    auto&& gallocy_try = (expr);                                             \
    if (!gallocy_try) return tl::unexpected(std::move(gallocy_try).error()); \
  } while (0)

// GALLOCY_ASSIGN(auto x, expr): the value of a Result<T>, or returns its error from the calling function.
#define GALLOCY_ASSIGN(declaration, expr) \
  GALLOCY_ASSIGN_AS(GALLOCY_CONCAT(gallocy_assign_, __LINE__), declaration, expr)
#define GALLOCY_ASSIGN_AS(name, declaration, expr)           \
  auto name = (expr);                                        \
  if (!name) return tl::unexpected(std::move(name).error()); \
  declaration = std::move(*name)
