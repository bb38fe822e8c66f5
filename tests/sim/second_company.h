// SecondCompany: the log of the second shard of the address space, beside the first one that VmmCluster has: the same
// nodes, links and ends, a log and a company of its own. Its messages are delayed and lost as the first one's are.
//
// Checked after every event: as VmmCluster does, of this log.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "vmm_cluster.h"

namespace gallocy::sim {

class SecondCompany {
 public:
  SecondCompany(VmmCluster& cluster, const VmmClusterOptions& options);

  // What becomes of a node, as VmmCluster tells.
  void start(NodeId node);
  void end(NodeId node) { nodes_[node.value].log.reset(), nodes_[node.value].core = nullptr; }
  void changed(NodeId node);
  void peer_down(NodeId node, NodeId other);
  void peer_up(NodeId node, NodeId other);

  bool up(NodeId node) const { return node.value < nodes_.size() && nodes_[node.value].log != nullptr; }
  vmm::Log& log(NodeId node) { return *nodes_[node.value].log; }
  const raft::Core* core(NodeId node) const { return up(node) ? nodes_[node.value].core : nullptr; }
  bool is_member(NodeId node) {
    return up(node) && log(node).machine().standing({node, cluster_.life(node)}) == vmm::Standing::kPresent;
  }
  // Its vote may count here, until this log has it that it left: what it has may be too old to say that it got one.
  bool needs(NodeId node) {
    if (!up(node)) return false;
    const bool has_left = log(node).machine().standing({node, cluster_.life(node)}) >= vmm::Standing::kLeft;
    return !has_left || (log(node).votes() && !log(node).machine().members().empty());
  }
  void propose(NodeId node, vmm::Entry entry, vmm::Ticket ticket);
  std::function<void(vmm::Ticket, const Result<vmm::Outcome>&)> on_resolved;
  std::uint64_t digest() const { return digest_; }
  void lose_nothing() { options_.loss_permille = 0; }

 private:
  struct Node {
    std::unique_ptr<vmm::Log> log;
    const raft::Core* core = nullptr;
  };

  template <typename F>
  void event(NodeId node, F f);
  void schedule_tick(NodeId node);
  void send(NodeId from, NodeId to, const vmm::Send& send);
  void check_agreement(NodeId node);

  VmmCluster& cluster_;
  VmmClusterOptions options_;
  Prng prng_;
  std::vector<NodeId> founders_;
  std::vector<Node> nodes_;
  std::map<std::tuple<NodeId, std::uint64_t, NodeId, std::uint64_t>, std::uint64_t> last_arrival_;  // by their lives
  std::map<LogIndex, std::uint64_t> digests_;
  std::uint64_t digest_ = 0;
};

}  // namespace gallocy::sim
