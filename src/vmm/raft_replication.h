// RaftReplication: a leader, elected by a majority of the voters, orders the records (src/raft). A record is in the
// order once a majority has it, so any minority may die.
//
// A record of this node is appended if it leads, and sent to the leader otherwise (VmmPropose). Nobody waits for one
// that is lost on the way or with a leader: Log hands it in again when the reign changes, or in time.
//
// Who belongs to the company. The founders are known to all nodes from the launch, and so is their first leader, so
// that a cluster begins without an election. From then on the configuration follows the members that the log has, each
// life of a node as another server (raft/configuration.h); the leader changes it step by step (company.h).
//
// A log on disk (core.storage is kDurable): a node that starts again is the same server in another life, with what it
// had (`found`). The driver has written first_state() before a node starts for the first time.
//
// Indexes of the VMM log count records only; those of Raft count its own entries too. The state of a Raft snapshot is
// the VMM's index and its snapshot.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "raft/core.h"
#include "vmm/replication.h"

namespace gallocy::vmm {

struct RaftOptions {
  NodeId self{};
  std::uint64_t incarnation = 1;  // of this node: its life; the founders begin with 1
  std::vector<NodeId> founders;   // ascending; the first of them leads at first
  std::size_t most_voters = 5;    // odd
  std::uint64_t seed = 1;
  std::uint64_t now = 0;
  std::size_t snapshot_bytes =
      1 << 20;         // of records after which the log begins with a snapshot; more if that is larger
  raft::Options core;  // but `self`
  std::optional<raft::PersistentState> found;  // on disk, by a server that starts again
};

// What a node of a company has before its first start.
raft::PersistentState first_state(const RaftOptions& options);

// The state of a Raft snapshot, handed to the VMM's; what it has already it keeps.
Result<> restore_records(const raft::Snapshot& snapshot, ReplicatedState& state, Effects& effects);

class RaftReplication final : public Replication {
 public:
  RaftReplication(const RaftOptions& options, ReplicatedState& state);

  void start(std::uint64_t now, Effects& effects) override;
  void submit(Bytes record, std::uint64_t now, Effects& effects) override;
  Result<> message(NodeId from, wire::MessageType type, std::span<const std::byte> body, std::uint64_t now,
                   Effects& effects) override;
  void tick(std::uint64_t now, Effects& effects) override;
  std::uint64_t next_deadline() const override;
  void flush(std::uint64_t now, Effects& effects) override;
  void persisted(std::uint64_t sequence, std::uint64_t now, Effects& effects) override;
  void cannot_persist(std::uint64_t now, Effects& effects) override;
  void peer_down(NodeId peer, std::uint64_t now, Effects& effects) override;
  void peer_up(NodeId peer) override;
  Result<> usable() const override;
  std::uint64_t reign() const override;
  bool orders() const override { return core_.role() == raft::Role::kLeader; }

  bool votes() const override;

  const raft::Core& core() const { return core_; }

 private:
  Result<> proposed(NodeId from, wire::ByteReader reader);
  Result<> raft_message(NodeId from, wire::MessageType type, std::span<const std::byte> body, std::uint64_t now);
  void keep_company(std::uint64_t now);
  void carry_out(Effects& effects);
  void apply(const raft::Committed& committed, Effects& effects);
  void restore(const raft::Snapshot& snapshot, Effects& effects);
  void take_snapshot(LogIndex index);

  const RaftOptions options_;
  ReplicatedState& state_;
  raft::Core core_;
  std::set<NodeId> down_;
  bool company_changed_ = false;  // and that is committed
  std::size_t bytes_since_snapshot_ = 0;
  std::size_t snapshot_bytes_ = 0;  // of the last one
};

}  // namespace gallocy::vmm
