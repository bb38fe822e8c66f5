#include "stat_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <vector>

namespace gallocy::command {
namespace {

using nlohmann::json;

constexpr std::size_t kMostColumns = 8;        // of single nodes; above, the smallest and the largest are shown
constexpr std::size_t kMostSharingLines = 20;  // per node

struct Row {
  std::string name;
  std::vector<double> values;  // by node
};

std::string scaled(double value, double factor, std::initializer_list<const char*> units) {
  auto unit = units.begin();
  while (value >= factor && unit + 1 != units.end()) {
    value /= factor;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", value, unit == units.begin() || value >= 100 ? 0 : 1, *unit);
}

std::vector<Row> rows_of(const json& nodes) {
  std::vector<Row> rows;
  for (std::size_t node = 0; node < nodes.size(); ++node) {
    const auto counted = nodes[node].value("counters", json::object());
    for (const auto& [name, value] : counted.items()) {
      if (!value.is_number()) continue;
      auto row = std::find_if(rows.begin(), rows.end(), [&](const Row& one) { return one.name == name; });
      if (row == rows.end()) row = rows.insert(rows.end(), Row{name, std::vector<double>(nodes.size())});
      row->values[node] = value.get<double>();
    }
  }
  return rows;
}

using Cells = std::vector<std::string>;

std::string lay_out(const std::vector<Cells>& lines) {
  std::vector<std::size_t> widths;
  for (const auto& cells : lines) {
    widths.resize(std::max(widths.size(), cells.size()));
    for (std::size_t i = 0; i < cells.size(); ++i) widths[i] = std::max(widths[i], cells[i].size());
  }
  std::string text;
  for (const auto& cells : lines) {
    text += fmt::format("  {:<{}}", cells[0], widths[0]);
    for (std::size_t i = 1; i < cells.size(); ++i) text += fmt::format("  {:>{}}", cells[i], widths[i]);
    text += '\n';
  }
  return text;
}

std::string counters(const json& nodes) {
  const auto rows = rows_of(nodes);
  if (rows.empty()) {
    return "  no counters: no node has given any (is the program written on the library, did it leave the cluster?)\n";
  }
  const bool each = nodes.size() <= kMostColumns;
  std::vector<Cells> lines{{""}};
  for (std::size_t node = 0; each && node < nodes.size(); ++node) lines[0].push_back(fmt::format("node {}", node));
  if (!each) lines[0].insert(lines[0].end(), {"smallest", "largest"});
  lines[0].push_back("all");
  for (const auto& [name, values] : rows) {
    Cells cells{name};
    std::replace(cells[0].begin(), cells[0].end(), '_', ' ');
    double sum = 0;
    for (const double value : values) sum += value;
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    if (each) {
      for (const double value : values) cells.push_back(format_counter(name, value));
    } else {
      cells.insert(cells.end(), {format_counter(name, *low), format_counter(name, *high)});
    }
    cells.push_back(format_counter(name, sum));
    lines.push_back(std::move(cells));
  }
  return lay_out(lines);
}

std::string sharing(const json& nodes) {
  std::string text;
  for (const auto& node : nodes) {
    std::size_t lines = 0;
    for (const auto& line : node.value("sharing", json::array())) {
      if (!line.is_string() || ++lines > kMostSharingLines) break;
      text += fmt::format("  node {}: {}\n", node.value("node", 0), line.get<std::string>());
    }
  }
  return text.empty() ? "" : "\nPages that several nodes write, hottest first\n" + text;
}

std::string head(const json& record) {
  std::string program;
  for (const auto& word : record.value("program", json::array())) {
    if (word.is_string()) program += (program.empty() ? "" : " ") + word.get<std::string>();
  }
  const auto status = record.value("exit_status", json());
  return fmt::format("Run {}: {} nodes over {}, {} for {:.1f} s{}\n  {}\n", record.value("run", "?"),
                     record.value("nodes", json::array()).size(), record.value("transport", "?"),
                     status.is_null() ? "running" : "ran", record.value("seconds", 0.0),
                     status.is_null() ? "" : fmt::format(", exit status {}", status.get<int>()), program);
}

std::string places(const json& nodes) {
  std::vector<Cells> lines;
  for (const auto& node : nodes) {
    lines.push_back({fmt::format("node {}", node.value("node", 0)),
                     fmt::format("{} (pid {})", node.value("host", "?"), node.value("pid", 0)),
                     node.value("state", "?")});
  }
  return lay_out(lines);
}

}  // namespace

std::string format_counter(std::string_view name, double value) {
  if (name.ends_with("_ns")) return value == 0 ? "0" : scaled(value, 1000, {"ns", "us", "ms", "s"});
  if (name.ends_with("_bytes") || name.starts_with("bytes_")) {
    return value == 0 ? "0" : scaled(value, 1024, {"B", "KiB", "MiB", "GiB", "TiB"});
  }
  auto digits = fmt::format("{:.0f}", value);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), " ");
  }
  return digits;
}

std::string stat_table(const json& record) {
  const auto nodes = record.value("nodes", json::array());
  return head(record) + '\n' + places(nodes) + '\n' + counters(nodes) + sharing(nodes);
}

}  // namespace gallocy::command
