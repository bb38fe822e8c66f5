#include "personality/memory_policy.h"

#include <linux/mempolicy.h>

namespace gallocy::personality {
namespace {

constexpr int kFlags = MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES | MPOL_F_NUMA_BALANCING;
constexpr int kPreferredMany = 5, kWeightedInterleave = 6;  // of newer kernels
constexpr std::uint64_t kMostBits = 32768;                  // a page of mask, as the kernel

}  // namespace

std::optional<NodeId> MemoryPolicy::home_of(BlockId block) const {
  if (nodes.empty()) return std::nullopt;
  return mode == MPOL_PREFERRED ? nodes.front() : nodes[block.value % nodes.size()];
}

std::optional<std::size_t> words_of_mask(std::uint64_t maxnode) {
  const std::uint64_t bits = maxnode == 0 ? 0 : maxnode - 1;
  return bits > kMostBits ? std::nullopt : std::optional<std::size_t>((bits + 63) / 64);
}

std::optional<MemoryPolicy> memory_policy(int mode, std::span<const std::uint64_t> words, std::uint64_t bits,
                                          std::uint16_t nodes) {
  MemoryPolicy policy{.mode = mode & ~kFlags, .flags = mode & kFlags, .nodes = {}};
  bool any = false;
  for (std::uint64_t bit = 0; bit < bits; ++bit) {
    if ((words[bit / 64] >> (bit % 64) & 1) == 0) continue;
    any = true;
    if (bit < nodes) policy.nodes.push_back(NodeId{static_cast<std::uint16_t>(bit)});
  }
  if (any && policy.nodes.empty()) return std::nullopt;
  switch (policy.mode) {
    case MPOL_DEFAULT:
    case MPOL_LOCAL:
      return any ? std::nullopt : std::optional(policy);
    case MPOL_PREFERRED:
      return policy;  // without nodes: of the thread's own
    case MPOL_BIND:
    case MPOL_INTERLEAVE:
    case kPreferredMany:
    case kWeightedInterleave:
      return any ? std::optional(policy) : std::nullopt;
    default:
      return std::nullopt;
  }
}

}  // namespace gallocy::personality
