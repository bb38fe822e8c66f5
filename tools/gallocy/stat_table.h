// A run's record (RunRecord::text) as a person reads it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace gallocy::command {

std::string stat_table(const nlohmann::json& record);

// 1234567 → "1 234 567"; by the counter's name, "…_bytes" → "1.2 MiB", "…_ns" → "3.4 ms".
std::string format_counter(std::string_view name, double value);

}  // namespace gallocy::command
