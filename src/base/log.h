// Log events: a name and key=value fields, one line each on standard error.
//
//   log_event(LogLevel::kWarn, "connection_refused", "node", 3, "reason", "wrong secret");
//   gallocy: warn connection_refused node=3 reason="wrong secret"
//
// Any thread; a line is one write(2), so lines of several threads and processes do not mix. Not for signal handlers (it
// allocates when a line is long). Nodes, pages and terms are always spelt `node`, `page` and `term`.
#pragma once

#include <fmt/format.h>

#include <string_view>

namespace gallocy {

enum class LogLevel : unsigned char { kDebug, kInfo, kWarn, kError };

// Events below `least` are dropped; kInfo at start.
void set_log_level(LogLevel least);
bool log_enabled(LogLevel level);

// Replaces standard error by a function, for tests; returns the former one. Null: standard error.
using LogWriter = void (*)(std::string_view line);
LogWriter set_log_writer(LogWriter writer);

namespace log_detail {

using Line = fmt::basic_memory_buffer<char, 400>;
void begin_line(Line& line, LogLevel level, std::string_view event);
// Quotes values with blanks, quotes or control characters: the text may come from a stranger on the network.
void append_field(Line& line, std::string_view key, std::string_view value);
void end_line(Line& line);

inline void append_fields(Line&) {}
template <typename Value, typename... Rest>
void append_fields(Line& line, std::string_view key, const Value& value, const Rest&... rest) {
  if constexpr (std::is_convertible_v<const Value&, std::string_view>) {
    append_field(line, key, value);
  } else {
    fmt::format_to(fmt::appender(line), " {}={}", key, value);
  }
  append_fields(line, rest...);
}

}  // namespace log_detail

template <typename... Fields>
void log_event(LogLevel level, std::string_view event, const Fields&... keys_and_values) {
  static_assert(sizeof...(Fields) % 2 == 0, "fields are pairs of key and value");
  if (!log_enabled(level)) return;
  log_detail::Line line;
  log_detail::begin_line(line, level, event);
  log_detail::append_fields(line, keys_and_values...);
  log_detail::end_line(line);
}

}  // namespace gallocy
