// WholeSync: the synchronisation cores of whole nodes. Each hears of nodes as runtime/ tells it: of newcomers when they
// are there, of deaths when the node's own log has them; one that joins introduces itself when it is a member.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "sync/core.h"
#include "vmm/machine.h"

namespace gallocy::sim {

class WholeSync {
 public:
  explicit WholeSync(std::uint16_t most_nodes, sync::FaultInjection fault = sync::FaultInjection::kNone)
      : most_nodes_(most_nodes), fault_(fault) {}

  std::function<void(NodeId from, NodeId to, const wire::SyncMessage&)> on_send;
  std::function<void(NodeId from, NodeId to, const wire::SyncRecall&)> on_recall;  // to be sent
  std::function<void(NodeId, sync::WaiterId, sync::Outcome)> on_wake;

  void start(NodeId node, const std::vector<NodeId>& present);
  void stop(NodeId node) { nodes_.erase(node); }
  void node_joined(NodeId node, NodeId other);
  void bury(NodeId node, NodeId dead);
  void arrive(NodeId from, NodeId to, const wire::SyncMessage& message);
  void tick(NodeId node);

  // As runtime::SyncService has them, when a node leaves.
  std::size_t give_back(NodeId node);
  void take_back(NodeId node, const wire::SyncRecall& recall);
  void node_left(NodeId node, NodeId other);
  void homes_move(NodeId node, const sync::HomesMoved& moved);
  bool has_no_homes(NodeId node) const;

  // Its program may use locks from then on.
  void introduce(NodeId node, const std::vector<NodeId>& gone, const sync::HomesMoved& moved);
  bool is_introduced(NodeId node) const { return nodes_.contains(node) && nodes_.at(node).introduced; }

  // call(core, effects), as the runtime's threads do. What is pending ends by `on_wake`.
  template <typename Call>
  sync::Outcome call(NodeId node, Call call) {
    const sync::Outcome outcome = call(nodes_.at(node).core, effects_);
    carry_out(node);
    return outcome;
  }

  bool is_at_rest(NodeId node) const { return is_introduced(node) && !nodes_.at(node).core.recovering(); }
  std::string describe(NodeId node) const;
  // All know of the same deaths, and nobody was told what it could not take.
  void check_rest() const;
  std::uint64_t digest() const;

 private:
  static constexpr std::uint64_t kFirstRecall = std::uint64_t{1} << 40;  // a waiter, beyond all threads

  struct Node {
    sync::Core core;
    bool introduced = false;
    std::map<std::uint64_t, wire::SyncRecall> recalls{};  // by waiter
    std::uint64_t last_recall = kFirstRecall;
  };

  sync::Core& core(NodeId node) { return nodes_.at(node).core; }
  void put_down(NodeId node, const wire::SyncRecall& recall);
  void carry_out(NodeId node);

  const std::uint16_t most_nodes_;
  const sync::FaultInjection fault_;
  std::map<NodeId, Node> nodes_;  // that are up
  sync::Effects effects_;
};

}  // namespace gallocy::sim
