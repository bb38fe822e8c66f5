// The command line of `gallocy`, read and checked. The one place that knows CLI11.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "failure.h"
#include "gallocy/node.h"
#include "net/mesh.h"

namespace gallocy::command {

struct LaunchOptions {
  std::optional<unsigned> nodes;
  std::optional<net::LinkKind> transport;
  std::vector<std::string> hosts;  // "name" or "name:count"
  std::string launch_template;     // with {host} and {command}
  std::string remote_command;      // path of gallocy on the hosts
  std::string address;             // where the hosts reach this machine
  std::uint16_t port = 0;
  std::string directory;  // where instances start
  std::optional<std::uint64_t> memory_bytes;
  std::string fault_engine;
  OnPeerLost on_peer_lost = OnPeerLost::kEnd;
  unsigned join_timeout_s = 30;
  unsigned connect_timeout_s = 30;
  bool prefix = false;
  bool insecure_network = false;
  std::string secret_file;
  std::string stats_file;
  std::string log_dir;
  unsigned shards = 0;               // of the address space; 0: what GALLOCY_SHARDS says, or one
  std::vector<std::string> program;  // with its arguments
  // gallocy run: the nodes are one process that runs an unmodified program. Node 0 is on this machine.
  bool process = false;
  bool report = false;     // --stat
  bool backtrace = false;  // of a thread that crashes
  std::string trace_file;
  bool debug = false;  // a debugger may stop nodes
  std::string place;   // where threads go: "spread", "pack", or nodes; empty: the default
};

struct DoctorOptions {
  bool json = false;
};

struct StatOptions {
  std::string run;  // empty: the one that runs, else the last
  bool last = false;
  bool list = false;
  bool json = false;
  bool watch = false;
};

// gallocy node
struct ServeOptions {
  NodeOptions node;
  std::string log_dir;            // empty: what GALLOCY_LOG_DIR names, or in memory
  std::vector<unsigned> without;  // members that are lost for good
  unsigned shards = 0;            // of the address space; 0: what GALLOCY_SHARDS says, or one
};

// gallocy status, gallocy leave: of a running cluster.
struct MemberOptions {
  enum class Verb : std::uint8_t { kStatus, kLeave } verb = Verb::kStatus;
  std::string address;  // of any member; empty: from GALLOCY_JOIN
  std::string secret_file;
  bool insecure_network = false;
  bool json = false;             // status
  std::optional<unsigned> node;  // leave; nothing: the member itself
  unsigned timeout_s = 10;       // until the member answers the call
};

struct AgentOptions {};

// Text to print on standard output and be done: --help, --version.
struct Information {
  std::string text;
};

using Options =
    std::variant<LaunchOptions, DoctorOptions, StatOptions, ServeOptions, MemberOptions, AgentOptions, Information>;

Outcome<Options> parse_command_line(int count, char** arguments);

}  // namespace gallocy::command
