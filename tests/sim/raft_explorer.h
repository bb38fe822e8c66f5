// RaftExplorer: every history of a small company, up to a number of timeouts, proposals, lost messages and changes of
// membership. A state is the cores (without storage) and the messages under way; a choice is the delivery or the loss
// of the oldest message between two servers, a timeout of a server, a proposal, or the removal of a server by a leader.
//
// A server may time out at any moment, and what it promised a leader has then lapsed everywhere: whatever clocks do,
// all but leases must hold. It walks the graph of states depth first, telling states apart by a 64-bit digest, and
// checks each: one leader per term, logs that match, leaders that have everything committed, one entry per committed
// index. The first violation ends the walk.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "raft/core.h"

namespace gallocy::sim {

struct RaftExploration {
  std::string name;
  std::uint16_t nodes = 3;
  unsigned timeouts = 2;
  unsigned proposals = 0;
  unsigned losses = 0;
  unsigned removals = 0;
  raft::Mutant mutant = raft::Mutant::kNone;
  std::size_t most_states = 2'000'000;  // more are a failure: the configuration is too large to be explored
};

struct RaftExplorationReport {
  std::uint64_t states = 0, steps = 0, ends = 0;
  std::uint64_t most_terms = 0, most_committed = 0;
  std::optional<std::string> violation;
};

class RaftExplorer {
 public:
  explicit RaftExplorer(const RaftExploration& exploration);
  RaftExplorationReport run();

 private:
  struct Fact {
    raft::Term term;     // of the entry
    raft::Term in_term;  // in which it was first seen to be committed
  };
  struct State {
    std::vector<raft::Core> cores;
    std::vector<std::deque<raft::Message>> links;  // from * nodes + to
    std::map<raft::Term, raft::ServerId> leaders;
    std::map<LogIndex, Fact> committed;
    unsigned timeouts = 0, proposals = 0, losses = 0, removals = 0;
    std::uint64_t now = 0;
  };
  struct Choice {
    enum class Kind : std::uint8_t { kDeliver, kLose, kTimeOut, kPropose, kRemove } kind;
    std::size_t what = 0;  // link or node
    std::size_t whom = 0;
  };

  State start() const;
  std::vector<Choice> choices(const State& state) const;
  void take(State& state, const Choice& choice);
  void deliver(State& state, std::size_t link);
  void settle(State& state, raft::Core& core);
  void check(const State& state);
  void check_leader(const State& state, const raft::Core& core);
  void check_match(const raft::Core& a, const raft::Core& b);
  void visit(std::size_t depth);
  void violated(const std::string& what);
  std::uint64_t digest(const State& state) const;

  RaftExploration exploration_;
  std::vector<State> path_;  // by depth
  std::unordered_set<std::uint64_t> known_;
  RaftExplorationReport report_;
};

}  // namespace gallocy::sim
