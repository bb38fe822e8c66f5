#include "status_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace gallocy::command {
namespace {

using nlohmann::json;

std::string size_text(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return fmt::format("{:.{}f} {}", value, unit == 0 || value >= 100 ? 0 : 1, kUnits[unit]);
}

// Of the log of each shard, the last entry that a node has.
std::vector<std::uint64_t> newest(const json& nodes) {
  std::vector<std::uint64_t> entries;
  for (const json& node : nodes) {
    if (!node.contains("logs")) continue;
    const json& logs = node.at("logs");
    entries.resize(std::max(entries.size(), logs.size()));
    for (std::size_t i = 0; i < logs.size(); ++i)
      entries[i] = std::max(entries[i], logs[i].at("applied").get<std::uint64_t>());
  }
  return entries;
}

std::string node_line(const json& node, const std::vector<std::uint64_t>& newest_entries) {
  const auto number = node.at("node").get<unsigned>();
  const auto address = node.at("address").get<std::string>();
  if (node.contains("silent"))
    return fmt::format("{:>5}  {:<22} no answer: {}\n", number, address, node.at("silent").get<std::string>());
  const json& memory = node.at("memory");
  std::string roles;
  std::uint64_t lag = 0;
  for (std::size_t i = 0; i < newest_entries.size(); ++i) {
    const json& log = node.at("logs").at(i);
    roles += (roles.empty() ? "" : ",") + log.at("role").get<std::string>();
    lag += newest_entries[i] - log.at("applied").get<std::uint64_t>();
  }
  const auto used = memory.at("used").get<std::uint64_t>(), durable = memory.at("durable").get<std::uint64_t>();
  return fmt::format("{:>5}  {:<22} {:<8} {:>4} {:>11} of {:>9} {:>10} {:>8}\n", number, address, roles, lag,
                     size_text(used + durable), size_text(memory.at("budget")), size_text(durable),
                     memory.at("homes").get<std::uint64_t>());
}

std::string region_line(const json& region) {
  std::string homes;
  for (const auto& [node, blocks] : region.at("homes").items())
    homes += fmt::format("{}{}: {}", homes.empty() ? "" : ", ", node, blocks.get<std::uint64_t>());
  return fmt::format("  {:<24} {:>10}  {:<12} {}\n", region.at("name").get<std::string>(),
                     size_text(region.at("bytes")), region.at("placement").get<std::string>(), homes);
}

}  // namespace

std::string status_table(const json& report) {
  const json& nodes = report.at("nodes");
  const json& regions = report.at("cluster").at("regions");
  std::string text = fmt::format("{} nodes, {} regions, epoch {}\n\n", nodes.size(), regions.size(),
                                 report.at("cluster").at("epoch").get<unsigned>());
  text += " node  address                log       lag              memory used    durable    homes\n";
  const std::vector<std::uint64_t> newest_entries = newest(nodes);
  for (const json& node : nodes) text += node_line(node, newest_entries);
  if (regions.empty()) return text;
  text += "\n  region                         size  placement    homes that the log knows (node: blocks)\n";
  for (const json& region : regions) text += region_line(region);
  return text;
}

}  // namespace gallocy::command
