// ThreadPlaces: which node a new thread of the program goes to. Pure but for the turn, which threads may take at once.
//
// `--place` is a list of nodes that are used in turn: "spread" is all of them, with the home last, as its first thread
// is there already; "pack" is the home. An affinity goes before the list.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "personality/affinity.h"

namespace gallocy::personality {

// Whether --place leaves it to the runtime where threads run.
bool spreads(std::string_view place);
// What --place says; the empty text is "spread". kInvalidArgument: neither a word nor a list of nodes that exist.
Result<std::vector<NodeId>> nodes_to_use(std::string_view place, std::uint16_t nodes);

class ThreadPlaces {
 public:
  // `self`: the node that the threads' makers are on. Makers of different nodes begin at different places of the list,
  // so that threads which each make one more spread, too.
  ThreadPlaces(std::vector<NodeId> list, NodeId self, std::uint16_t nodes);

  // For a thread that may run on these nodes; at least one of them exists.
  NodeId next(const NodeSet& allowed);

 private:
  NodeId next_of(const std::vector<NodeId>& list, const NodeSet& allowed);

  const std::vector<NodeId> list_, all_;
  std::atomic<std::uint32_t> turn_;
};

}  // namespace gallocy::personality
