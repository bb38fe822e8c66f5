// CoreInspector: what the checkers may see of a coherence::Core beyond its interface, and a copy of its whole state,
// from which the exhaustive exploration goes on in several directions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "coherence/core.h"

namespace gallocy::coherence {

class CoreInspector {
 public:
  static const LocalPage& local(const Core& core, PageId page) { return core.local(page); }
  static const DirectoryEntry& entry(const Core& core, PageId page) { return core.entry(page); }
  static bool initialised(const Core& core, BlockId block) { return core.block_state(block).initialised != 0; }

  // The log could tell the node more of where the block is than it knows: it believes a dead node to be the home, and
  // no chain of forwards leads through it.
  static bool wants_hint(const Core& core, BlockId block);
  static bool believes_alive(const Core& core, NodeId node) { return core.alive(node); }

  // Pages of the block that this home has told `owner` to pass on, and has not heard that they arrived.
  static PageSet on_their_way_from(const Core& core, BlockId block, NodeId owner);

  // Nothing is under way: no transaction, request, deferred message or eviction.
  static bool at_rest(const Core& core);
  static std::string under_way(const Core& core);  // for people
  // Sizes of the tables that must not grow without end, against what bounds them.
  static void check_bounds(const Core& core);

  // digest() and, beyond it, what else decides what the core does next at time `now` (not: the stream detector).
  static std::uint64_t whole_digest(const Core& core, std::uint64_t now);
  // Makes `to` a copy of `from`. Both were made with the same options and regions.
  static void copy(const Core& from, Core& to);
};

}  // namespace gallocy::coherence
