// What follows from the options of a launch before anything is started: where nodes run, how they talk, their secret.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "failure.h"
#include "hosts.h"
#include "instances.h"
#include "options.h"

namespace gallocy::command {

struct LaunchSettings {
  std::vector<HostPlan> hosts;  // empty: this machine alone, without agents
  std::uint16_t nodes = 1;
  net::LinkKind transport = net::LinkKind::kTcp;
  bool encrypt = false;
  std::string secret;
  std::string address;       // of the rendezvous
  std::string program_path;  // of gallocy run
};

Outcome<LaunchSettings> settle(const LaunchOptions& options);

// What one machine is told to run; the rendezvous listens at `port`.
InstancePlan plan_for(const std::vector<NodeId>& nodes, const LaunchOptions& options, const LaunchSettings& settings,
                      std::uint16_t port);

}  // namespace gallocy::command
