// The company that keeps the log, as it follows from the members that the log has. The leader changes it one server at
// a time; each time that it can, it does the next of these:
//   1. the dead are taken out: lives that are over. Who left stays until it answers no more, or it would not get the
//      entry that tells it that it votes no more, and that it may go; so does a founder that has not joined
//   2. members that are not in the company become learners of it
//   3. the voters are an odd number of the members, at most most_voters: one more would make commits dearer and save
//      nobody. Where the log is on disk only those vote that have one: the others forget. Of two members one votes:
//      with two voters the log would end with either's death, so it ends with one's
//   4. a leader that left passes leadership on when somebody else votes; one that is declared dead gives it up
#pragma once

#include <optional>
#include <set>

#include "raft/core.h"
#include "vmm/raft_replication.h"

namespace gallocy::vmm {

// How many of so many servers vote.
std::size_t voters_among(std::size_t servers, std::size_t most);

// At most one of these, but that a learner that shall vote and is not fast enough must not hold up the rest.
struct Step {
  std::optional<raft::Change> change;
  std::optional<raft::Change> otherwise;  // if that is refused
  std::optional<raft::ServerId> successor;
  bool resign = false;
};

// Which server a node is: each of its lives another one, or, with its log on disk, all of them the same.
raft::ServerId server_of(const Life& life, raft::Storage storage);

// What the leader `core` does next. `down`: nodes that it has no connection to.
Step next_step(const raft::Core& core, const ReplicatedState& state, const std::set<NodeId>& down,
               const RaftOptions& options, std::uint64_t now);

}  // namespace gallocy::vmm
