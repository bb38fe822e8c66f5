#include "base/log.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>

namespace gallocy {
namespace {

std::atomic<LogLevel> least_level{LogLevel::kInfo};
std::atomic<LogWriter> line_writer{nullptr};

constexpr std::string_view kLevelNames[] = {"debug", "info", "warn", "error"};

bool is_plain(char c) { return c > ' ' && c < '\x7f' && c != '"' && c != '\\'; }

}  // namespace

void set_log_level(LogLevel least) { least_level.store(least, std::memory_order_relaxed); }
bool log_enabled(LogLevel level) { return level >= least_level.load(std::memory_order_relaxed); }
LogWriter set_log_writer(LogWriter writer) { return line_writer.exchange(writer); }

namespace log_detail {

void begin_line(Line& line, LogLevel level, std::string_view event) {
  fmt::format_to(fmt::appender(line), "gallocy: {} {}", kLevelNames[static_cast<int>(level)], event);
}

void append_field(Line& line, std::string_view key, std::string_view value) {
  if (!value.empty() && std::all_of(value.begin(), value.end(), is_plain)) {
    fmt::format_to(fmt::appender(line), " {}={}", key, value);
    return;
  }
  fmt::format_to(fmt::appender(line), " {}=\"", key);
  for (char c : value) {
    if (is_plain(c) || c == ' ') {
      line.push_back(c);
    } else {
      fmt::format_to(fmt::appender(line), "\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  line.push_back('"');
}

void end_line(Line& line) {
  if (LogWriter writer = line_writer.load()) return writer({line.data(), line.size()});
  line.push_back('\n');
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace log_detail
}  // namespace gallocy
