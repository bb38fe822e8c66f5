#include "base/check.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace gallocy {
namespace {

void write_line(std::string_view line) {
  char text[1024];
  const std::size_t length = std::min(line.size(), sizeof text - 1);
  std::memcpy(text, line.data(), length);
  text[length] = '\n';
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text, length + 1);
}

}  // namespace

void check_failed(const char* file, int line, const char* condition, std::string_view values) {
  char text[900];
  const auto end =
      fmt::format_to_n(text, sizeof text, "gallocy: bug: {}:{}: CHECK({}) failed:{}", file, line, condition, values);
  write_line({text, std::min(end.size, sizeof text)});
  std::abort();
}

void die(int status, std::string_view line) {
  write_line(line);
  ::_exit(status);
}

}  // namespace gallocy
