#include "launch_settings.h"

#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/check.h"
#include "local_address.h"
#include "net/open_cluster.h"
#include "net/rendezvous_frames.h"
#include "personality/thread_places.h"
#include "run_directory.h"
#include "spawn.h"

namespace gallocy::command {
namespace {

std::string new_secret() {
  unsigned char bytes[32];
  const auto got = ::getrandom(bytes, sizeof bytes, 0);
  CHECK(got == sizeof bytes, got, errno);
  std::string text;
  for (const auto byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace

Outcome<LaunchSettings> settle(const LaunchOptions& options) {
  LaunchSettings settings;
  LaunchOptions elsewhere = options;
  if (options.process && options.nodes && !options.hosts.empty()) {  // node 0 is here
    if (*options.nodes == 1) return fail_with(ErrorCode::kInvalidArgument, "-n 1 leaves no node for --hosts");
    --*elsewhere.nodes;
  }
  GALLOCY_ASSIGN(settings.hosts, plan_hosts(elsewhere));
  const bool one_machine = options.process ? settings.hosts.empty() : settings.hosts.size() <= 1;
  settings.nodes = static_cast<std::uint16_t>(node_count(elsewhere, settings.hosts));
  if (options.process) {
    GALLOCY_ASSIGN(settings.program_path, find_program(options.program.front(), options.directory));
    if (!settings.hosts.empty()) {  // node 0 is here
      ++settings.nodes;
      for (HostPlan& host : settings.hosts) {
        for (NodeId& node : host.nodes) ++node.value;
      }
    }
  }
  if (const auto places = personality::nodes_to_use(options.place, settings.nodes); !places) {
    return fail_with(places.error().code, places.error().message);
  }
  settings.transport = options.transport.value_or(one_machine ? net::LinkKind::kShm : net::LinkKind::kTcp);
  if (settings.transport == net::LinkKind::kShm && !one_machine) {
    return fail_with(ErrorCode::kInvalidArgument, "--transport shm needs all nodes on one machine");
  }
  if (!options.launch_template.empty() && options.launch_template.find("{command}") == std::string::npos) {
    return fail_with(ErrorCode::kInvalidArgument,
                     "--launch needs {command} in its text, and {host} where the host belongs");
  }
  settings.encrypt = !one_machine && !options.insecure_network;
  if (options.secret_file.empty()) {
    settings.secret = new_secret();
  } else {
    auto secret = net::read_secret_file(options.secret_file);
    if (!secret) return fail_with(secret.error().code, secret.error().message);
    settings.secret = std::move(*secret);
  }
  settings.address = !options.address.empty() ? options.address
                     : settings.hosts.empty() ? "127.0.0.1"
                                              : address_towards(settings.hosts.front().name);
  return settings;
}

InstancePlan plan_for(const std::vector<NodeId>& nodes, const LaunchOptions& options, const LaunchSettings& settings,
                      std::uint16_t port) {
  const bool v6 = settings.address.find(':') != std::string::npos;
  std::error_code none;
  InstancePlan plan{.nodes = nodes,
                    .environment = {},
                    .arguments = options.program,
                    .directory = options.directory,
                    .secret = settings.secret};
  if (options.process) {
    const bool here = nodes.front() == NodeId{0};
    const auto own_path = std::filesystem::read_symlink("/proc/self/exe", none).string();
    plan.arguments = {here || options.remote_command.empty() ? own_path : options.remote_command, "guest",
                      settings.program_path};
    plan.arguments.insert(plan.arguments.end(), options.program.begin(), options.program.end());
    plan.one_process = true;
    if (!here) plan.directory = "/";  // a worker has no files of the program
  }
  if (plan.directory.empty() && !settings.hosts.empty() && !options.process)
    plan.directory = std::filesystem::current_path(none).string();
  const auto set = [&](std::string_view name, const auto& value) {
    plan.environment.push_back(fmt::format("GALLOCY_{}={}", name, value));
  };
  set("NODES", settings.nodes);
  set("LOCAL_NODES", nodes.size());
  set("LAUNCHER", fmt::format("{}:{}", v6 ? fmt::format("[{}]", settings.address) : settings.address, port));
  set("TRANSPORT", settings.transport == net::LinkKind::kShm ? "shm" : "tcp");
  set("ENCRYPT", settings.encrypt ? 1 : 0);
  const bool one_machine = options.process ? settings.hosts.empty() : settings.hosts.size() <= 1;
  set("LISTEN_HOST", one_machine ? "127.0.0.1" : "");
  set("JOIN_TIMEOUT", options.join_timeout_s);
  set("ON_PEER_LOST", options.on_peer_lost == OnPeerLost::kEnd ? "end" : "continue");
  if (options.memory_bytes) set("MEMORY", *options.memory_bytes);
  if (!options.log_dir.empty()) set("LOG_DIR", std::filesystem::absolute(options.log_dir, none).string());
  if (options.shards != 0) set("SHARDS", options.shards);
  if (options.report) set("REPORT", 1);
  // The home starts in the program's directory, which may be another one.
  if (!options.trace_file.empty()) set("TRACE", std::filesystem::absolute(options.trace_file, none).string());
  if (options.debug) set("DEBUG", 1);
  if (options.backtrace) set("BACKTRACE", 1);
  if (!options.place.empty()) set("PLACE", options.place);
  if (!options.fault_engine.empty()) set("FAULT_ENGINE", options.fault_engine);
  return plan;
}

}  // namespace gallocy::command
