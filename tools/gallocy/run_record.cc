#include "run_record.h"

#include <nlohmann/json.hpp>

namespace gallocy::command {

using nlohmann::json;

RunRecord::RunRecord(std::string run, std::vector<std::string> program, std::uint16_t nodes, std::string transport)
    : run_(std::move(run)),
      program_(std::move(program)),
      transport_(std::move(transport)),
      started_(std::chrono::system_clock::now()),
      nodes_(nodes) {}

void RunRecord::started(NodeId node, std::string host, std::int64_t pid) {
  auto& one = nodes_[node.value];
  one.host = std::move(host);
  one.pid = pid;
  one.state = "running";
}

void RunRecord::exited(NodeId node, std::string how) { nodes_[node.value].state = std::move(how); }

void RunRecord::statistics(NodeId node, std::string_view text) { nodes_[node.value].statistics = text; }

std::string RunRecord::text() const {
  const auto seconds = [](auto duration) { return std::chrono::duration<double>(duration).count(); };
  auto nodes = json::array();
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const auto& node = nodes_[i];
    json entry = {{"node", i}, {"host", node.host}, {"pid", node.pid}, {"state", node.state}};
    const auto counted = json::parse(node.statistics, nullptr, false);
    const auto take = [&](const char* name, bool (json::*is_right)() const noexcept) {
      const auto found = counted.is_object() ? counted.find(name) : counted.end();
      if (counted.is_object() && found != counted.end() && ((*found).*is_right)()) entry[name] = *found;
    };
    take("counters", &json::is_object);
    take("sharing", &json::is_array);
    nodes.push_back(std::move(entry));
  }
  json record = {{"run", run_},
                 {"program", program_},
                 {"transport", transport_},
                 {"started", seconds(started_.time_since_epoch())},
                 {"seconds", seconds(std::chrono::system_clock::now() - started_)},
                 {"exit_status", exit_status_ ? json(*exit_status_) : json(nullptr)},
                 {"nodes", std::move(nodes)}};
  // Arguments need not be UTF-8.
  return record.dump(1, ' ', false, json::error_handler_t::replace) + '\n';
}

}  // namespace gallocy::command
