// Random workloads of the coherence simulation: a cluster, its options, and programs, all from a seed.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "coherence_simulation.h"

namespace gallocy::sim {

enum class WorkloadKind : std::uint8_t {
  kMixed,      // a mixture of the programs below, two to nine nodes
  kRing,       // pointers permuted under locks, which must stay one ring
  kManyNodes,  // more nodes than a copyset has bits
  kHot,        // many threads on two pages: nobody starves
  kCount
};

struct Workload {
  WorkloadKind kind = WorkloadKind::kMixed;
  unsigned crashes = 0;
  unsigned leaves = 0;  // nodes that leave in order
  Mutant mutant = Mutant::kNone;
  bool trace = false;
};

// A finished run.
struct RunReport {
  std::uint64_t digest = 0;
  std::uint64_t events = 0, accesses = 0;
  std::uint64_t longest_wait_us = 0;
  unsigned most_attempts = 0, threads_lost = 0, nodes_left = 0;
  coherence::Counters counters;  // of all nodes together
};

RunReport run_workload(std::uint64_t seed, const Workload& workload);

// Legal but rare choices of the options, drawn for every node.
CoherenceSimulation::Options random_options(Prng& prng, unsigned nodes, std::vector<coherence::RegionSpec> regions);

}  // namespace gallocy::sim
