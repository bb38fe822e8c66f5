#include "personality/affinity.h"

#include <algorithm>

namespace gallocy::personality {

ProcessorNumbers::ProcessorNumbers(const std::vector<std::uint32_t>& counts) : first_{0} {
  for (const std::uint32_t count : counts) first_.push_back(first_.back() + count);
}

ProcessorMask ProcessorNumbers::all() const {
  ProcessorMask mask;
  for (unsigned i = 0; i < std::min(total(), ProcessorMask::kMost); ++i) mask.add(i);
  return mask;
}

ProcessorMask ProcessorNumbers::existing(const ProcessorMask& mask) const {
  ProcessorMask found;
  for (unsigned i = 0; i < std::min(total(), ProcessorMask::kMost); ++i) {
    if (mask.has(i)) found.add(i);
  }
  return found;
}

NodeSet ProcessorNumbers::nodes_of(const ProcessorMask& mask) const {
  NodeSet nodes;
  if (mask.empty()) return nodes.set();
  for (std::uint16_t n = 0; n + 1U < first_.size(); ++n) nodes[n] = !of_node(mask, NodeId{n}).empty();
  return nodes;
}

std::vector<unsigned> ProcessorNumbers::of_node(const ProcessorMask& mask, NodeId node) const {
  std::vector<unsigned> own;
  const unsigned end = std::min(first_[node.value + 1U], ProcessorMask::kMost);
  for (unsigned i = first(node); i < end; ++i) {
    if (mask.has(i)) own.push_back(i - first(node));
  }
  return own;
}

}  // namespace gallocy::personality
