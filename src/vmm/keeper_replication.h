// KeeperReplication: one node, the keeper, orders all records. Its order is final at once; records of one turn of its
// driver go to the others in one message.
//
// A node that starts, or finds a gap, subscribes with the index it has. The keeper answers with the records that are
// missing or, if it does not have them any more, with a snapshot, and sends everything that follows. Links keep order
// and lose nothing while they are up (net/mesh.h); should a message be lost or repeated nonetheless, the indexes show
// it.
//
// When the keeper dies, the log ends: usable() fails with kPeerLost.
#pragma once

#include <deque>
#include <memory>
#include <set>
#include <string>

#include "vmm/replication.h"

namespace gallocy::vmm {

struct KeeperOptions {
  NodeId self{};
  NodeId keeper{};
  std::size_t tail_records = 4096;         // that the keeper has at hand for those who missed something
  std::uint64_t subscribe_us = 2'000'000;  // a subscription without an answer for so long is repeated
};

class KeeperReplication final : public Replication {
 public:
  KeeperReplication(const KeeperOptions& options, ReplicatedState& state);

  void start(std::uint64_t now, Effects& effects) override;
  void submit(Bytes record, std::uint64_t now, Effects& effects) override;
  Result<> message(NodeId from, wire::MessageType type, std::span<const std::byte> body, std::uint64_t now,
                   Effects& effects) override;
  void tick(std::uint64_t now, Effects& effects) override;
  std::uint64_t next_deadline() const override { return catching_up_ ? subscribe_due_ : kNever; }
  void flush(std::uint64_t now, Effects& effects) override;
  void peer_down(NodeId peer, std::uint64_t now, Effects& effects) override;
  void peer_up(NodeId) override {}
  Result<> usable() const override;
  std::uint64_t reign() const override { return keeper_down_ ? 0 : 1; }
  bool orders() const override { return options_.self == options_.keeper; }
  bool votes() const override { return orders(); }

 private:
  // The keeper's part.
  Result<> append(Bytes record, Effects& effects);
  Result<> proposed(NodeId from, wire::ByteReader reader, Effects& effects);
  Result<> subscribed(NodeId from, wire::ByteReader reader, Effects& effects);
  void send_records(LogIndex first, const std::vector<NodeId>& to, Effects& effects) const;
  void send_snapshot(NodeId to, Effects& effects) const;
  LogIndex last() const { return LogIndex{tail_first_.value + tail_.size() - 1}; }

  // Everybody else's.
  void subscribe(std::uint64_t now, Effects& effects);
  Result<> appended(wire::ByteReader reader, std::uint64_t now, Effects& effects);
  Result<> snapshot_chunk(wire::ByteReader reader, Effects& effects);

  const KeeperOptions options_;
  ReplicatedState& state_;

  // Keeper: records tail_first_ … last(), of which those from unsent_ on have not been sent to the followers.
  std::deque<Bytes> tail_;
  LogIndex tail_first_{1};
  LogIndex unsent_{1};
  std::set<NodeId> followers_;

  // Others: whether something is missing and has been asked for, when to ask again, and the part of a snapshot that is
  // here.
  bool catching_up_ = false;
  std::uint64_t subscribe_due_ = 0;
  Bytes chunks_;
  LogIndex chunks_index_{};
  bool keeper_down_ = false;
};

}  // namespace gallocy::vmm
