// The machines of a launch: which nodes run where, and how a command is run there.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "failure.h"
#include "options.h"

namespace gallocy::command {

struct HostPlan {
  std::string name;
  std::vector<NodeId> nodes;
};

// Nodes are numbered host by host. No hosts in the options: those of the Slurm job, if this is one. An empty plan:
// this machine alone.
Outcome<std::vector<HostPlan>> plan_hosts(const LaunchOptions& options);

// The total of nodes: that of -n, else one per host (or its count).
unsigned node_count(const LaunchOptions& options, const std::vector<HostPlan>& hosts);

// "n[1-3,07],m" gives n1 n2 n3 n07 m.
Outcome<std::vector<std::string>> expand_slurm_nodes(std::string_view list);

// The shell command that runs `command` (its words) on `host`.
std::string fill_template(std::string_view text, const std::string& host, const std::vector<std::string>& command);

// The template for machines of this place: srun inside a Slurm job, else ssh.
std::string default_template(unsigned connect_timeout_s);

}  // namespace gallocy::command
