// VmmCluster: the VMM logs of many nodes, with their replication, in one thread, as a function of a seed.
//
// Links keep order and delay; they lose where they are cut, and by chance if told to. A node that crashes loses
// everything; it comes back as another life with nothing, admitted through any member, as new nodes are too. One that
// leaves waits until it is not needed. With disks it comes back with what its disk has: all writes that were reported
// as done, and perhaps some of those that were under way. The others learn of an end some time later, each at its own.
//
// Checked after every event: nodes that have applied the same number of entries have equal digests; a ticket is
// resolved once; what a proposer is told is what the log says.
#pragma once

#include <algorithm>
#include <deque>
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
  kForgetSecond,       // a node that leaves waits until its vote is not needed for the first shard of the address space
  kLeaveAtOnce,        // a node that leaves does not wait until its vote is not needed
  kWrittenEarly,       // a write is reported as done when it has begun
};

struct VmmClusterOptions {
  std::uint16_t nodes = 3;  // that found the cluster
  bool raft = true;
  std::uint64_t seed = 1;
  std::uint64_t delay_us = 1000;
  unsigned loss_permille = 0;
  vmm::RaftOptions replication;  // of all, but who they are
  std::uint64_t retry_us = 300'000;
  DriverBug bug = DriverBug::kNone;
  vmm::Shard shard{};  // of the address space, whose log this is
  bool disks = false;
  bool newcomers_forget = false;  // with disks: those who come later have none
  std::uint64_t write_us = 2000;  // of a write to disk, at most
};

class VmmCluster {
 public:
  explicit VmmCluster(const VmmClusterOptions& options);

  std::uint16_t nodes() const { return static_cast<std::uint16_t>(nodes_.size()); }  // that ever were
  bool up(NodeId node) const { return nodes_[node.value].log != nullptr; }
  vmm::Log& log(NodeId node) { return *nodes_[node.value].log; }
  const raft::Core* core(NodeId node) const { return nodes_[node.value].core; }
  raft::ServerId server(NodeId node) const {
    return raft::server_id(node, options_.disks ? 1 : nodes_[node.value].life);
  }
  bool has_disk(NodeId node) const {
    return options_.disks && (node.value < options_.nodes || !options_.newcomers_forget);
  }
  bool is_member(NodeId node) { return nodes_[node.value].joined; }
  bool leaving(NodeId node) const { return nodes_[node.value].leaving; }
  std::size_t arriving() const { return arriving_.size(); }  // newcomers that are not there yet
  bool comes_back(NodeId node) const {                       // one of them wants to be this node
    return std::ranges::any_of(arriving_, [&](const auto& each) { return each.second.wanted == node; });
  }
  std::uint64_t life(NodeId node) const { return nodes_[node.value].life; }
  bool parted(NodeId node, NodeId from) const { return nodes_[node.value].believed_down.contains(from); }
  bool is_cut(NodeId from, NodeId to) const { return cut_.contains({from, to}); }
  std::uint64_t now() const { return now_; }
  std::uint64_t digest() const { return digest_; }
  std::uint64_t restores() const { return restores_; }

  // Its fate comes to `on_resolved`, perhaps before this returns, unless the node crashes.
  vmm::Ticket fresh_ticket() { return vmm::Ticket{++last_ticket_}; }
  void propose(NodeId node, vmm::Entry entry, vmm::Ticket ticket);
  std::function<void(vmm::Ticket, const Result<vmm::Outcome>&)> on_resolved;
  // What else a node consists of: it begins, ends, has followed the log (entry by entry, or a snapshot took their
  // place), has lost its connection to another, has one.
  std::function<void(NodeId)> on_start, on_end, on_change, on_restored;
  std::function<void(NodeId, const vmm::Applied&)> on_applied;
  std::function<void(NodeId, NodeId other)> on_peer_down, on_peer_up;
  std::function<bool(NodeId)> is_needed;  // who leaves waits for it to end
  std::function<bool(NodeId)>
      ends_its_links;  // the others hear of its end from these, with miss(), and not by themselves

  void at(std::uint64_t delay_us, std::function<void()> what) { agenda_.emplace(now_ + delay_us, std::move(what)); }
  void run_for(std::uint64_t us);

  void cut(NodeId from, NodeId to) { cut_.insert({from, to}); }
  void mend() { cut_.clear(); }
  void mend(NodeId from, NodeId to) { cut_.erase({from, to}); }
  void lose_nothing() { options_.loss_permille = 0; }
  void crash(NodeId node);
  // A process that wants to be a member: under the number of a node that crashed, or a new one. It is there when a
  // member lets it in.
  void arrive(NodeId wanted = kNoNode);
  void restart(NodeId node);  // with its disk
  // It lets nobody in any more; it leaves; it did not, after all.
  void begin_leaving(NodeId node) { nodes_[node.value].leaving = true; }
  void leave(NodeId node);
  void stay(NodeId node) { nodes_[node.value].leaving = false; }
  // One of them takes the other for dead, wrongly, and parts with it.
  void part(NodeId one, NodeId other);
  // It hears nothing of the other any more.
  void miss(NodeId node, NodeId other) { hear_of_end(node, {other, nodes_[other.value].life}); }

 private:
  struct Node {
    std::unique_ptr<vmm::Log> log;
    const raft::Core* core = nullptr;
    std::uint64_t life = 0;  // 0: it never was
    std::uint64_t newcomer = 0;
    std::map<NodeId, std::pair<std::uint64_t, vmm::Ticket>> proposed;  // its life, by which life of whom
    vmm::Ticket joining{};
    bool joined = false;
    bool leaving = false;
    LogIndex followed{};
    std::set<NodeId> believed_down;
    raft::PersistentState disk;
    std::deque<raft::Persist> writes;  // under way
    std::uint64_t disk_busy_until = 0;
  };

  template <typename F>
  void event(NodeId node, F f);
  struct Newcomer {
    NodeId wanted{};
    std::uint64_t life = 0;
    vmm::Life contact{};
    vmm::Ticket asked{};
  };

  void start(NodeId node);
  void found(NodeId node);
  void propose_life(NodeId by, NodeId node);
  void ask(std::uint64_t newcomer);
  void admitted(std::uint64_t newcomer, const vmm::Outcome& outcome);
  void end_if_gone(NodeId node);
  void end_soon(NodeId node);
  void miss_later(NodeId node, NodeId other);
  void expel(NodeId by, const vmm::Life& dead);
  void schedule_tick(NodeId node);
  void send(NodeId from, NodeId to, const vmm::Send& send);
  void hear_of_end(NodeId node, const vmm::Life& of);
  void carry_out(NodeId node, const vmm::Effects& effects);
  void begin_write(NodeId node, const raft::Persist& persist);
  void end_write(NodeId node);
  void report_written(NodeId node, std::uint64_t sequence);
  void check_agreement(NodeId node);

  VmmClusterOptions options_;
  Prng prng_;
  std::vector<Node> nodes_;
  std::map<std::uint64_t, Newcomer> arriving_;
  std::set<std::pair<NodeId, NodeId>> cut_;
  std::map<std::pair<NodeId, NodeId>, std::uint64_t> last_arrival_;
  std::multimap<std::uint64_t, std::function<void()>> agenda_;
  std::map<LogIndex, std::uint64_t> digests_;  // after each entry
  std::map<vmm::Ticket, std::string> open_;    // the name that a proposal binds, or nothing
  std::uint64_t now_ = 1'000'000, last_ticket_ = 0, last_newcomer_ = 0, digest_ = 0, restores_ = 0;
};

}  // namespace gallocy::sim
