// One seeded run: clients that read and write registers while the network, the disks and the nodes misbehave and the
// membership changes; then everything is mended, and all have to get on.
#pragma once

#include <cstdint>

#include "raft_cluster.h"

namespace gallocy::sim {

struct RaftWorkload {
  raft::Storage storage = raft::Storage::kDurable;
  bool changes = true;  // of membership
  bool partitions = true;
  bool crashes = true;
  raft::Mutant mutant = raft::Mutant::kNone;
  bool trace = false;
};

struct RaftReport {
  std::uint64_t digest = 0, events = 0, elections = 0, commits = 0, configurations = 0, truncations = 0, restores = 0;
  std::uint64_t crashes = 0, operations = 0, answered = 0, lease_reads = 0, round_reads = 0, transfers = 0;
};

RaftReport run_raft(std::uint64_t seed, const RaftWorkload& workload);

}  // namespace gallocy::sim
