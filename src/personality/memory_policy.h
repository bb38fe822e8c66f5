// MemoryPolicy: on which nodes a program wants its memory (set_mempolicy(2), mbind(2)). Here that decides where blocks
// have their home. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"

namespace gallocy::personality {

struct MemoryPolicy {
  int mode = 0;               // MPOL_…, without flags
  int flags = 0;              // MPOL_F_STATIC_NODES and its kin, which make no difference here
  std::vector<NodeId> nodes;  // ascending

  // The home that a block shall have; nothing: whoever touches it first. Of several nodes each gets blocks in turn,
  // also for MPOL_BIND, as a node that is full passes pages on by itself.
  std::optional<NodeId> home_of(BlockId block) const;
};

// As the calls give it: `words` has at least `bits` bits. Nothing: EINVAL.
std::optional<MemoryPolicy> memory_policy(int mode, std::span<const std::uint64_t> words, std::uint64_t bits,
                                          std::uint16_t nodes);

// How many 64-bit words a mask of the calls' argument maxnode has, which counts one bit too many; nothing: EINVAL.
std::optional<std::size_t> words_of_mask(std::uint64_t maxnode);

}  // namespace gallocy::personality
