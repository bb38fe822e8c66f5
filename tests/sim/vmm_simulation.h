// One seeded run of the VMM log on several nodes, with partitions, crashes and nodes that come back, while all of them
// propose. In the end everything is mended, and then: nothing that a proposer was told is lost, all nodes agree, every
// proposal of a living node has an answer, and new ones get through.
#pragma once

#include <cstdint>

#include "vmm_cluster.h"

namespace gallocy::sim {

struct VmmWorkload {
  bool raft = true;
  bool partitions = true;
  bool crashes = true;
  std::uint64_t return_us = 600'000;  // a node that crashed is back after at most so long
  bool changes = false;      // nodes come and leave, some are taken for dead; a cluster begins with one node or more
  bool disks = false;        // nodes come back with their logs; then all may crash at once. Not with `changes`
  std::uint32_t shards = 1;  // of the address space, each with a company: 1 or 2. Not with `disks`
  raft::Mutant mutant = raft::Mutant::kNone;
  DriverBug bug = DriverBug::kNone;
};

struct VmmReport {
  std::uint64_t digest = 0;
  std::uint64_t proposals = 0, accepted = 0, failed = 0, crashes = 0, arrivals = 0, leavings = 0, partings = 0,
                restores = 0, partitions = 0, terms = 0;
  std::uint64_t regions[2] = {};  // of each shard
};

VmmReport run_vmm(std::uint64_t seed, const VmmWorkload& workload);

}  // namespace gallocy::sim
