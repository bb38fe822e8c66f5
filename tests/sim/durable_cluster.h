// DurableCluster: cores of durable memory with a network and a log of memberships, in one thread, as a function of a
// seed. Messages go through their encoding. Each node hears of each epoch at a time of its own; what a dead node had
// sent may arrive long after.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "durable/core.h"
#include "durable/held_effects.h"
#include "journal_disk.h"
#include "network.h"

namespace gallocy::durable {
// For Network, which finds it by the message's namespace.
std::uint64_t digest(const Message& message);
}  // namespace gallocy::durable

namespace gallocy::sim {

struct DurableClusterOptions {
  std::uint16_t nodes = 3;   // members of the first epoch
  std::uint16_t spares = 0;  // that may join later
  unsigned backups = 1;
  std::uint64_t blocks = 4;
  std::uint64_t seed = 1;
  durable::Options core;
  std::uint64_t flush_every = 1;  // a node sends what it has put off in one of so many steps, and when all else is done
  bool trace = false;
  // Nodes have a disk, and may start again with what is on it. A write takes its time, and what follows from it is held
  // meanwhile, as a driver does it. Of journals the pieces, segments and sizes are small.
  bool disks = false;
  raft::StoreMutant store_mutant = raft::StoreMutant::kNone;
  // In each of their lives; ascending. They have no disk: when all start again, they join anew.
  std::vector<NodeId> bystanders{};
};

class DurableCluster {
 public:
  explicit DurableCluster(const DurableClusterOptions& options);

  // Called with what a core answers.
  std::function<void(NodeId, const durable::ReadDone&)> on_read;
  std::function<void(NodeId, const durable::CommitDone&)> on_commit;

  std::uint16_t nodes() const { return static_cast<std::uint16_t>(cores_.size()); }
  bool up(NodeId node) const { return cores_[node.value] != nullptr; }
  durable::Core& core(NodeId node) { return *cores_[node.value]; }
  const durable::Core& core(NodeId node) const { return *cores_[node.value]; }
  unsigned alive() const;
  bool is_bystander(NodeId node) const;
  std::vector<NodeId> keeping() const;  // those that are up and keep blocks
  std::uint64_t address(std::uint64_t block, std::uint32_t offset) const;
  std::uint64_t digest() const { return mix(network_.digest(), digest_); }
  std::uint64_t epochs() const { return log_.size(); }
  std::uint64_t messages() const { return network_.sent(); }
  JournalDisk::Counters disk_counters() const;
  enum class Writes : std::uint8_t { kAny, kAnew };
  bool is_writing(Writes writes) const;

  // One event at a node: f(core); then its effects are carried out.
  template <typename F>
  void step(NodeId node, F f) {
    f(*cores_[node.value]);
    finish_step(node);
  }
  // Delivers one message, or the news of one epoch to one node. False: there is nothing to deliver.
  bool deliver(Prng& prng);
  // The node stops; its death is not in the log yet.
  void crash(NodeId node, Prng& prng);
  // It may not be sure that it is a member, for a while; or is again.
  void set_lease(NodeId node, durable::Lease lease);
  // These nodes stop at once, some with their machines, and start again with what is on their disks: of the writes that
  // were under way, some bytes. Who has no disk is a member without anything.
  void restart(const std::vector<NodeId>& nodes, Prng& prng);
  std::vector<NodeId> members() const;  // those that are up
  void join();
  bool can_join() const { return joined_ < spares_; }
  // A member that is about to leave, of which there may be one at a time: what it keeps is restored elsewhere, and then
  // it goes. Or it stays after all.
  NodeId leaver() const { return log_.back().leaver; }
  void begin_leave(NodeId node) { append(log_.back().nodes, node); }
  void stay() { append(log_.back().nodes, kNoNode); }
  bool may_leave() const { return leaver() != kNoNode && up(leaver()) && core(leaver()).may_leave(); }
  // Those that joined take over their share, one after the other (SettleStep).
  bool can_begin_settling() const;
  void begin_settling();
  bool is_settling() const { return log_.back().settler != kNoNode; }
  bool may_go_on_settling() const;
  void go_on_settling();
  // An entry of the log: the members are those that have neither crashed nor not joined yet.
  void publish();
  bool published() const;

  // Every node has heard of all epochs, and everything is at as many nodes as it should be.
  bool restored() const;
  // At rest: the same images at all members of each company, nothing open, nothing kept.
  void check_rest() const;
  // All have settled, and nobody ever was about to leave: those with the highest scores keep each block, and no others.
  void check_shares() const;
  durable::Core& primary(std::uint64_t block);

  void log(const std::string& line) const;

 private:
  // A node's disk, and what waits for it.
  struct Disk {
    JournalDisk journal;
    std::uint64_t last_write = 0;
    durable::HeldEffects held;
  };

  void append(std::vector<NodeId> nodes, NodeId leaver, NodeId restarted = kNoNode,
              durable::SettleStep step = durable::SettleStep::kNone, NodeId settler = kNoNode);
  NodeId waiting_to_settle() const;
  void join(NodeId node);
  const durable::Membership& membership(Epoch epoch) const { return log_[epoch.value - 1]; }
  bool behind(NodeId node) const { return up(node) && core(node).epoch() < latest(); }
  Epoch latest() const { return Epoch{static_cast<std::uint32_t>(log_.size())}; }
  void hear(NodeId node);
  void finish_step(NodeId node);
  bool flush_all();
  bool has_disk(NodeId node) const { return options_.disks && !is_bystander(node); }
  durable::Options core_options(NodeId node) const;
  void recover(NodeId node, durable::Kept kept);
  durable::History history(Epoch until) const;
  void begin_journal(NodeId node);
  std::vector<NodeId> writing() const;
  bool write_some(Prng& prng);
  void carry_out_written(NodeId node);
  void carry_out(NodeId node, durable::Effects effects);

  DurableClusterOptions options_;
  std::uint16_t spares_ = 0, joined_ = 0;
  std::vector<std::unique_ptr<durable::Core>> cores_;
  std::vector<durable::Membership> log_;  // of epochs 1 …
  std::vector<Disk> disks_;
  std::vector<bool> lapsed_;  // who has no lease
  std::vector<bool> unsettled_;
  durable::SettleStep last_step_ = durable::SettleStep::kNone;  // of the log's settler
  Network<durable::Message> network_;
  std::uint64_t digest_ = 0;
  std::uint64_t slow_news_ = 1, slow_disk_ = 1;
};

// At rest: all members of the block's company agree on it, are as many as they should be, of those that keep blocks,
// and have the same image; and nobody else has any of it.
void check_copies(BlockId block, unsigned backups, std::span<const NodeId> keeping,
                  const std::function<const durable::Core&(NodeId)>& core);
// And those of these members with the highest scores are its company. Nobody ever was about to leave, and all have
// settled.
void check_share(BlockId block, unsigned backups, const durable::Membership& members, const durable::Company& company);

}  // namespace gallocy::sim
