// BoundedEvent: a log event that others can cause at will, so that it must not fill a disk. Of each minute so many are
// logged; then one line says that further ones are counted, and, when the minute is over, another how many there were.
//
//   BoundedEvent refused_{LogLevel::kWarn, "connection_refused"};
//   refused_.log(now_ns, "from", from, "reason", reason);
//
// Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/log.h"

namespace gallocy {

class BoundedEvent {
 public:
  static constexpr std::size_t kLinesPerMinute = 100;

  BoundedEvent(LogLevel level, std::string_view event) : level_(level), event_(event) {}

  template <typename... Fields>
  void log(std::int64_t now_ns, const Fields&... keys_and_values) {
    if (now_ns >= minute_ends_ns_) begin_minute(now_ns);
    if (++count_ > kLinesPerMinute) return;
    log_event(level_, event_, keys_and_values...);
    if (count_ == kLinesPerMinute) log_event(level_, event_, "note", "further ones of this minute are counted");
  }

 private:
  static constexpr std::int64_t kMinuteNs = 60'000'000'000;

  void begin_minute(std::int64_t now_ns) {
    if (count_ > kLinesPerMinute) log_event(level_, event_, "more", count_ - kLinesPerMinute);
    count_ = 0;
    minute_ends_ns_ = now_ns + kMinuteNs;
  }

  const LogLevel level_;
  const std::string_view event_;
  std::size_t count_ = 0;  // in this minute
  std::int64_t minute_ends_ns_ = 0;
};

}  // namespace gallocy
