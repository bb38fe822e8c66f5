// CHECK: an invariant that holds in every build. A violation is a bug: it prints the values and stops the node.
// DCHECK is the same for checks too costly for release builds. Both may be used in a signal handler: the message is
// formatted into a stack buffer and written with write(2).
#pragma once

#include <fmt/format.h>

#include <string_view>

namespace gallocy {

[[noreturn]] void check_failed(const char* file, int line, const char* condition, std::string_view values);

// Writes one line to standard error with write(2) and ends the process with `status`. Async-signal-safe.
[[noreturn]] void die(int status, std::string_view line);

namespace check_detail {
template <typename... Values>
[[noreturn]] void fail(const char* file, int line, const char* condition, const Values&... values) {
  char text[512];
  char* end = text;
  ((end = fmt::format_to_n(end, sizeof text - 1 - static_cast<std::size_t>(end - text), " {}", values).out,
    end = end > text + sizeof text - 1 ? text + sizeof text - 1 : end),
   ...);
  check_failed(file, line, condition, std::string_view(text, static_cast<std::size_t>(end - text)));
}
}  // namespace check_detail

}  // namespace gallocy

#define CHECK(condition, ...)         \
  (__builtin_expect(!!(condition), 1) \
       ? void()                       \
       : ::gallocy::check_detail::fail(__FILE__, __LINE__, #condition __VA_OPT__(, ) __VA_ARGS__))

#ifdef NDEBUG
#define DCHECK(condition, ...) void()
#else
#define DCHECK(condition, ...) CHECK(condition __VA_OPT__(, ) __VA_ARGS__)
#endif
