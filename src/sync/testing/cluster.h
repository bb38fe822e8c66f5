// Cluster: the cores of a few nodes and the messages between them, for unit tests. run() delivers in the order of
// sending, so a test knows exactly how many messages an operation takes. Random order is the simulator's (tests/sim).
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "sync/core.h"

namespace gallocy::sync::testing {

inline constexpr NodeId n0{0}, n1{1}, n2{2}, n3{3};
inline constexpr WaiterId w1{1}, w2{2}, w3{3}, w4{4};

class Cluster {
 public:
  explicit Cluster(std::uint16_t nodes, Options options = {}) {
    options.nodes = nodes;
    for (std::uint16_t i = 0; i < nodes; ++i) {
      options.self = NodeId{i};
      cores_.emplace_back(options);
    }
  }

  Core& core(NodeId node) { return cores_[node.value]; }

  // step(core, effects) at a node. What it returns, or its wake in the same step.
  template <typename Step>
  Outcome at(NodeId node, WaiterId waiter, Step step) {
    ended_.erase({node, waiter});
    const Outcome outcome = step(core(node), effects_);
    carry_out(node, 0);
    if (outcome != Outcome::kPending) ended_[{node, waiter}] = outcome;
    return outcome;
  }

  Outcome lock(NodeId node, SyncId id, WaiterId w = w1) {
    return at(node, w, [&](Core& c, Effects& e) { return c.lock(id, w, e); });
  }
  Outcome try_lock(NodeId node, SyncId id, WaiterId w = w1) {
    return at(node, w, [&](Core& c, Effects& e) { return c.try_lock(id, w, e); });
  }
  Outcome unlock(NodeId node, SyncId id) {
    return at(node, WaiterId{}, [&](Core& c, Effects& e) { return c.unlock(id, e); });
  }
  Outcome cancel(NodeId node, SyncId id, WaiterId w = w1) {
    return at(node, w, [&](Core& c, Effects& e) { return c.cancel(id, w, e); });
  }

  // How the wait of this thread ended; kPending if it has not.
  Outcome outcome(NodeId node, WaiterId waiter = w1) const {
    const auto found = ended_.find({node, waiter});
    return found == ended_.end() ? Outcome::kPending : found->second;
  }

  // Delivers until nothing is in flight; the number of messages.
  std::size_t run() {
    std::size_t count = 0;
    for (; !flight_.empty(); ++count) deliver_first();
    for (const Core& c : cores_) c.check_invariants();
    return count;
  }
  void deliver_first() {
    const Flying flying = flight_.front();
    flight_.pop_front();
    deepest_ = std::max(deepest_, flying.depth);
    if (dead(flying.to)) return;
    core(flying.to).message(flying.from, flying.message, effects_);
    carry_out(flying.to, flying.depth);
  }
  // Delivers only messages of that verb, as long as there are any; the others stay.
  void run_only(wire::SyncVerb verb) {
    const auto is = [verb](const Flying& f) { return f.message.verb == verb; };
    for (auto found = flight_.begin(); (found = std::find_if(flight_.begin(), flight_.end(), is)) != flight_.end();) {
      std::rotate(flight_.begin(), found, found + 1);
      deliver_first();
    }
  }
  std::size_t in_flight() const { return flight_.size(); }
  std::uint32_t deepest() const { return deepest_; }  // longest chain of messages, each caused by the one before

  // The node dies and everybody learns it; what it had sent and is in flight is lost.
  void kill(NodeId node) {
    std::erase_if(flight_, [node](const Flying& f) { return f.from == node; });
    dead_.push_back(node);
    for (std::uint16_t i = 0; i < cores_.size(); ++i) {
      if (dead(NodeId{i})) continue;
      core(NodeId{i}).node_died(node, effects_);
      carry_out(NodeId{i}, 0);
    }
  }

  void tick(NodeId node) {
    core(node).tick(effects_);
    carry_out(node, 0);
  }
  void send(NodeId from, NodeId to, wire::SyncMessage message) { flight_.push_back({from, to, message, 1}); }

 private:
  struct Flying {
    NodeId from, to;
    wire::SyncMessage message;
    std::uint32_t depth;
  };

  bool dead(NodeId node) const { return std::find(dead_.begin(), dead_.end(), node) != dead_.end(); }

  void carry_out(NodeId node, std::uint32_t depth) {
    for (const Effect& effect : effects_) {
      if (effect.kind == Effect::Kind::kSend) {
        flight_.push_back({node, effect.node, effect.message, depth + 1});
      } else {
        const bool first = ended_.emplace(std::pair{node, effect.waiter}, effect.outcome).second;
        CHECK(first, node, effect.waiter, "woken twice");
      }
    }
    effects_.clear();
  }

  std::vector<Core> cores_;
  std::deque<Flying> flight_;
  std::map<std::pair<NodeId, WaiterId>, Outcome> ended_;
  std::vector<NodeId> dead_;
  Effects effects_;
  std::uint32_t deepest_ = 0;
};

}  // namespace gallocy::sync::testing
