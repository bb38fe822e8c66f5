// DirectoryEntry: what the home of a page knows about it, in 8 bytes. All zero: only the home has it (or nobody).
//
// States (docs/protocol.md, "Page states"):
//   kHomeOnly   the home's frame is the only copy; the home may write
//   kShared     the home's frame is valid, the nodes of the copyset may have read copies; nobody may write
//   kExclusive  `owner` has the only copy; the home's frame is stale
// The copyset has 48 bits. Nodes whose numbers differ by a multiple of that share one (coarse vector: Gupta, Weber,
// Mowry, "Reducing memory and traffic requirements for scalable directory-based cache coherence schemes", ICPP 1990):
// some are then told to drop a page that they do not have, which is harmless. While no two present nodes share a bit,
// copysets are exact (Core::exact_copysets).
#pragma once

#include <cstdint>

#include "base/ids.h"

namespace gallocy::coherence {

enum class PageState : std::uint8_t { kHomeOnly, kShared, kExclusive };

struct DirectoryEntry {
  std::uint64_t state_bits : 2 = 0;
  std::uint64_t busy : 1 = 0;       // a transaction is under way; requests for the page queue
  std::uint64_t migratory : 2 = 0;  // confidence that the next reader will write: 0 … 3
  std::uint64_t unused : 1 = 0;
  std::uint64_t owner : 10 = 0;  // kExclusive: the owner; else the last writer
  std::uint64_t copyset : 48 = 0;

  PageState state() const { return static_cast<PageState>(state_bits); }
  void set(PageState s) { state_bits = static_cast<std::uint64_t>(s) & 3; }
};
static_assert(sizeof(DirectoryEntry) == 8);

inline constexpr unsigned kCopysetBits = 48;

constexpr std::uint64_t copyset_bit(NodeId node) { return std::uint64_t{1} << (node.value % kCopysetBits); }

}  // namespace gallocy::coherence
