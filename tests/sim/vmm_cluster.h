// VmmCluster: the VMM logs of many nodes, with their replication, in one thread, as a function of a seed.
//
// Links keep order and delay; they lose where they are cut, and by chance if told to. A node that crashes loses
// everything; it comes back as another life with nothing. The others learn of a crash some time later, each at its own.
//
// Checked after every event: nodes that have applied the same number of entries have equal digests; a ticket is
// resolved once; what a proposer is told is what the log says.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/prng.h"
#include "vmm/log.h"

namespace gallocy::sim {

// How a driver can misuse the log. The checks must catch each.
enum class DriverBug : unsigned char {
  kNone,
  kSameServerAgain,    // a node that lost everything comes back under the identity that it had
  kSameRequestsAgain,  // a life numbers its requests as the former one did
};

struct VmmClusterOptions {
  std::uint16_t nodes = 3;
  bool raft = true;
  std::uint64_t seed = 1;
  std::uint64_t delay_us = 1000;
  unsigned loss_permille = 0;
  vmm::RaftOptions replication;  // of all, but who they are
  std::uint64_t retry_us = 300'000;
  DriverBug bug = DriverBug::kNone;
};

class VmmCluster {
 public:
  explicit VmmCluster(const VmmClusterOptions& options);

  std::uint16_t nodes() const { return static_cast<std::uint16_t>(nodes_.size()); }
  bool up(NodeId node) const { return nodes_[node.value].log != nullptr; }
  vmm::Log& log(NodeId node) { return *nodes_[node.value].log; }
  const raft::Core* core(NodeId node) const { return nodes_[node.value].core; }
  raft::ServerId server(NodeId node) const { return raft::server_id(node, nodes_[node.value].life); }
  bool is_member(NodeId node) { return nodes_[node.value].joined; }
  std::uint64_t now() const { return now_; }
  std::uint64_t digest() const { return digest_; }
  std::uint64_t restores() const { return restores_; }

  // Its fate comes to `on_resolved`, perhaps before this returns, unless the node crashes.
  vmm::Ticket fresh_ticket() { return vmm::Ticket{++last_ticket_}; }
  void propose(NodeId node, vmm::Entry entry, vmm::Ticket ticket);
  std::function<void(vmm::Ticket, const Result<vmm::Outcome>&)> on_resolved;

  void at(std::uint64_t delay_us, std::function<void()> what) { agenda_.emplace(now_ + delay_us, std::move(what)); }
  void run_for(std::uint64_t us);

  void cut(NodeId from, NodeId to) { cut_.insert({from, to}); }
  void mend() { cut_.clear(); }
  void lose_nothing() { options_.loss_permille = 0; }
  void crash(NodeId node);
  void restart(NodeId node);

 private:
  struct Node {
    std::unique_ptr<vmm::Log> log;
    const raft::Core* core = nullptr;
    std::uint64_t life = 1;
    vmm::Ticket joining{};
    bool joined = false;
    LogIndex followed{};
    std::set<NodeId> believed_down;
  };

  template <typename F>
  void event(NodeId node, F f);
  void start(NodeId node);
  void join(NodeId node);
  void join_again_later(NodeId node);
  void schedule_tick(NodeId node);
  void send(NodeId from, NodeId to, const vmm::Send& send);
  void hear_of_crash(NodeId node, NodeId of);
  void carry_out(NodeId node, const vmm::Effects& effects);
  void check_agreement(NodeId node);

  VmmClusterOptions options_;
  Prng prng_;
  std::vector<Node> nodes_;
  std::set<std::pair<NodeId, NodeId>> cut_;
  std::map<std::pair<NodeId, NodeId>, std::uint64_t> last_arrival_;
  std::multimap<std::uint64_t, std::function<void()>> agenda_;
  std::map<LogIndex, std::uint64_t> digests_;  // after each entry
  std::map<vmm::Ticket, std::string> open_;    // the name that a proposal binds, or nothing
  std::uint64_t now_ = 1'000'000, last_ticket_ = 0, last_life_ = 1, digest_ = 0, restores_ = 0;
};

}  // namespace gallocy::sim
