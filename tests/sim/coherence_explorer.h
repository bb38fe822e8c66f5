// CoherenceExplorer: every interleaving of a small configuration. A state is the cluster (cores, frames, program views,
// messages in flight) and the position of every thread in its list of accesses; a choice is the delivery of the oldest
// message between two nodes, a step of a thread, the passing of time up to the next deadline, or the death of a node.
//
// It walks the whole graph of states depth first, telling states apart by a 64-bit digest (with some 10^6 states the
// chance that two share one is below 10^-6). The cluster checks its rules at every step; a state without a choice must
// be at rest with every thread at its end; and from every state some way must lead to such an end, so that no set of
// states goes round for ever.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "coherence_cluster.h"
#include "coherence_program.h"

namespace gallocy::sim {

struct Exploration {
  std::string name;
  CoherenceCluster::Options cluster;
  struct Thread {
    NodeId node;
    std::vector<Operation> operations;
  };
  std::vector<Thread> threads;
  // How often time may pass while messages are in flight. After a death requests are repeated as time passes, without
  // end if they are never delivered.
  unsigned early_ticks = ~0u;
  bool crash = false;  // one node may die at any step …
  NodeId victim{};     // … this one
  // Threads that take a page from each other before either makes its access can go on so for ever, and each round moves
  // the home, whose version makes the state a new one. States behind this many moves are not followed.
  std::uint64_t most_moves = 3;
  std::uint64_t most_states = 3'000'000;  // more are a failure: the configuration is too large to be explored
};

struct ExplorationReport {
  std::uint64_t states = 0, steps = 0, ends = 0;
  std::uint64_t cut = 0;  // states that were not followed
};

class CoherenceExplorer : public CoherenceObserver {
 public:
  explicit CoherenceExplorer(const Exploration& exploration);
  ExplorationReport run();

 private:
  struct ThreadState {
    std::uint16_t next = 0;  // operation
    bool waits = false;
    bool lost = false;
  };
  struct State {
    std::unique_ptr<CoherenceCluster> cluster;
    std::vector<ThreadState> threads;
    bool crashed = false;
    unsigned early_ticks = 0;
  };
  struct Choice {
    enum class Kind : std::uint8_t { kDeliver, kStep, kTime, kCrash } kind;
    std::uint16_t a = 0, b = 0;
  };

  State new_state();
  void copy(const State& from, State& to) const;
  std::vector<Choice> choices(const State& state) const;
  void take(State& state, const Choice& choice);
  void step(State& state, std::size_t index);
  void pass_time(State& state);
  bool is_cut(const State& state) const;
  void check_end(State& state) const;
  std::uint64_t digest(const State& state) const;
  std::uint32_t visit(std::size_t depth, std::pair<std::uint32_t, Choice> way);
  void check_every_state_can_end();
  void print_way_to(std::uint32_t state);
  void trace(std::string_view line) override;
  void woken(NodeId node, BlockId block, coherence::PageSet pages) override;
  void lost(NodeId node, BlockId block, coherence::PageSet pages) override { woken(node, block, pages); }

  Exploration exploration_;
  std::vector<State> path_;   // by depth; kept, because making cores is dear
  State* present_ = nullptr;  // the state whose cluster is in a step
  std::unordered_map<std::uint64_t, std::uint32_t> known_;
  std::vector<std::vector<std::uint32_t>> before_;           // by state: from where it is reached
  std::vector<std::pair<std::uint32_t, Choice>> first_way_;  // by state: from where it was reached first, and how
  std::vector<std::uint32_t> ends_;
  ExplorationReport report_;
};

}  // namespace gallocy::sim
