// Settings: what NodeOptions, the launcher and the environment together say about this node.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "gallocy/node.h"
#include "net/open_cluster.h"
#include "net/rendezvous.h"
#include "os/fault_engine.h"

namespace gallocy::runtime {

// kMemory: the node has no program, only memory for those of others (`gallocy node`).
enum class Duty : std::uint8_t { kProgram, kMemory };

// Of a node that has only memory: where it keeps its part of the log, which members will not come back, and how many
// shards the address space has, if it founds the cluster (0: as GALLOCY_SHARDS says).
struct NodeLog {
  std::string directory;
  std::vector<NodeId> without;
  std::uint32_t shards = 0;
};

struct Settings {
  NodeId self{};
  std::uint16_t nodes = 1;
  std::uint64_t memory_bytes = 0;
  os::FaultEngineKind engine = os::FaultEngineKind::kUffdSigbus;
  OnPeerLost on_peer_lost = OnPeerLost::kEnd;
  std::chrono::microseconds spin{50};
  std::chrono::microseconds loop_spin{0};  // net::MeshOptions; where each node of this machine has two cores or more
  std::string log_dir;                     // of this node alone; empty: the log is in memory
  std::vector<NodeId> without;             // an open cluster starts again: members that are lost for good
  std::uint32_t shards = 1;                // of the address space; who joins learns it from the log
  // At most one of these; none: a cluster of one.
  std::optional<net::LaunchDescription> launch;
  std::optional<net::OpenCluster> open;
  Duty duty = Duty::kProgram;
};

// Besides the variables of net/rendezvous.h: GALLOCY_SPIN_US, how long a thread that waits for a message spins before
// it sleeps (0 … 1 000 000); GALLOCY_LOG_DIR, where the nodes keep the cluster's log, each in a folder of its own.
// In an open cluster it is the folder of this node, unless `log` names another. GALLOCY_SHARDS: of how many shards the
// address space is (1 … 8), the same for all nodes of a launch.
Result<Settings> resolve_settings(const NodeOptions& options, Duty duty = Duty::kProgram, NodeLog log = {});

}  // namespace gallocy::runtime
