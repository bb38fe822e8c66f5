// Affinity: which of the huge machine's processors a thread may use (sched_setaffinity(2)), and which nodes that means.
// Pure.
//
// Invariants. 1. Processor k of node i is number first(i) + k, as in MachineView. 2. A mask without any processor is
// that of a thread whose affinity was never set: it may use all.
#pragma once

#include <array>
#include <bitset>
#include <climits>
#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace gallocy::personality {

using NodeSet = std::bitset<kMaxNodes>;

// As the kernel and cpu_set_t lay it out.
class ProcessorMask {
 public:
  static constexpr unsigned kMost = 8192;  // as many as Linux knows on x86-64

  bool has(unsigned processor) const { return (words_[processor / 64] >> (processor % 64) & 1) != 0; }
  void add(unsigned processor) { words_[processor / 64] |= std::uint64_t{1} << (processor % 64); }
  bool empty() const { return *this == ProcessorMask{}; }
  std::uint64_t* data() { return words_.data(); }
  const std::uint64_t* data() const { return words_.data(); }
  bool operator==(const ProcessorMask&) const = default;

 private:
  std::array<std::uint64_t, kMost / 64> words_{};
};

class ProcessorNumbers {
 public:
  // How many processors each node has.
  explicit ProcessorNumbers(const std::vector<std::uint32_t>& counts);

  unsigned total() const { return first_.back(); }
  unsigned first(NodeId node) const { return first_[node.value]; }
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
