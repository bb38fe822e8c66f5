// Affinity: which of the huge machine's processors a thread may use (sched_setaffinity(2)), and which nodes that means.
// Pure.
//
// Invariants. 1. Processor k of node i is number first(i) + k, as in MachineView. 2. A mask without any processor is
// that of a thread whose affinity was never set: it may use all.
#pragma once

#include <bitset>
#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "os/processor_mask.h"

namespace gallocy::personality {

using NodeSet = std::bitset<kMaxNodes>;

using os::ProcessorMask;

class ProcessorNumbers {
 public:
  // How many processors each node has.
  explicit ProcessorNumbers(const std::vector<std::uint32_t>& counts);

  unsigned total() const { return first_.back(); }
  unsigned first(NodeId node) const { return first_[node.value]; }
  unsigned count(NodeId node) const { return first_[node.value + 1u] - first_[node.value]; }
  ProcessorMask all() const;
  // Those of `mask` that exist.
  ProcessorMask existing(const ProcessorMask& mask) const;
  // The nodes that have one of them.
  NodeSet nodes_of(const ProcessorMask& mask) const;
  // The node's own, counted from its first.
  std::vector<unsigned> of_node(const ProcessorMask& mask, NodeId node) const;

 private:
  std::vector<unsigned> first_;  // of each node, then the total
};

}  // namespace gallocy::personality
