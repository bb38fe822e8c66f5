// RunRecord: what is known about one launch, as `gallocy stat` shows it: who ran where, how it ended, what it counted.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace gallocy::command {

class RunRecord {
 public:
  RunRecord(std::string run, std::vector<std::string> program, std::uint16_t nodes, std::string transport);

  const std::string& run() const { return run_; }
  void started(NodeId node, std::string host, std::int64_t pid);
  void exited(NodeId node, std::string how);
  // A node's latest counters (LauncherLink::send_statistics); text that is no JSON object is dropped.
  void statistics(NodeId node, std::string_view json);
  void ended(int exit_status) { exit_status_ = exit_status; }

  // {"run", "program", "transport", "started" (seconds since 1970), "seconds", "exit_status" (null while it runs),
  //  "nodes": [{"node", "host", "pid", "state", "counters": {…}, "sharing": […]}]}
  std::string text() const;

 private:
  struct Node {
    std::string host;
    std::int64_t pid = 0;
    std::string state = "starting";
    std::string statistics;
  };
  const std::string run_;
  const std::vector<std::string> program_;
  const std::string transport_;
  const std::chrono::system_clock::time_point started_;
  std::vector<Node> nodes_;
  std::optional<int> exit_status_;
};

}  // namespace gallocy::command
