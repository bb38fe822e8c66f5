// RaftScript: a cluster whose every message and timeout the test decides upon.
#pragma once

#include <initializer_list>

#include "raft_cluster.h"

namespace gallocy::sim {

class RaftScript : public RaftCluster {
 public:
  using Nodes = std::initializer_list<std::uint16_t>;

  static RaftClusterOptions options(std::uint16_t nodes, std::uint16_t founders, raft::Mutant mutant) {
    RaftClusterOptions o{.nodes = nodes, .founders = founders, .automatic = false};
    o.core.mutant = mutant;
    o.core.batch_bytes = 1;  // one entry per message
    o.core.trailing_entries = 0;
    return o;
  }

  explicit RaftScript(std::uint16_t nodes, std::uint16_t founders, raft::Mutant mutant = raft::Mutant::kNone)
      : RaftScript(options(nodes, founders, mutant)) {}
  explicit RaftScript(const RaftClusterOptions& o) : RaftCluster(o) {
    on_read = [this](std::uint16_t, const raft::ReadReady& read) { reads.push_back(read); };
  }

  bool leads(std::uint16_t node) { return core(node).role() == raft::Role::kLeader; }

  // The node times out and asks these for their votes; nobody else hears of it. What else was under way between them
  // is lost. When this returns, nothing that the new leader sends has arrived.
  bool elect(std::uint16_t node, Nodes voters) {
    resign(node);
    for (int attempt = 0; attempt < 4 && !leads(node); ++attempt) {
      in_flight().clear();
      for (const std::uint16_t voter : voters) pass(voter, 400'000);
      expire(node);
      for (int ballot = 0; ballot < 2; ++ballot) {
        for (const std::uint16_t voter : voters) hand(node, voter);
        for (const std::uint16_t voter : voters) hand(voter, node);
      }
    }
    return leads(node);
  }
  // All that is under way from one to the other.
  void hand(std::uint16_t from, std::uint16_t to) {
    while (deliver(from, to)) {
    }
  }

  // Messages and their answers, a few times.
  void exchange(std::uint16_t a, std::uint16_t b) {
    for (int i = 0; i < 4; ++i) {
      hand(a, b);
      hand(b, a);
    }
  }
  void resign(std::uint16_t node) {
    step(node, [](raft::Core& core, std::uint64_t now) { core.resign(now); });
  }

  tl::expected<raft::Proposed, raft::Refusal> propose(std::uint16_t node, std::uint64_t value) {
    tl::expected<raft::Proposed, raft::Refusal> result;
    const RegisterCommand write{.value = value};
    step(node, [&](raft::Core& core, std::uint64_t) { result = core.propose(write.encode()); });
    return result;
  }
  tl::expected<raft::Proposed, raft::Refusal> change(std::uint16_t node, raft::Change::Kind kind, std::uint16_t whom) {
    tl::expected<raft::Proposed, raft::Refusal> result;
    step(node, [&](raft::Core& core, std::uint64_t now) { result = core.change({kind, id(whom)}, now); });
    return result;
  }
  tl::expected<void, raft::Refusal> transfer(std::uint16_t node, std::uint16_t to) {
    tl::expected<void, raft::Refusal> result;
    step(node, [&](raft::Core& core, std::uint64_t now) { result = core.transfer(id(to), now); });
    return result;
  }
  void read(std::uint16_t node) {
    step(node, [](raft::Core& core, std::uint64_t now) { core.read(raft::Ticket{1}, now); });
  }
  void tick(std::uint16_t node) {
    step(node, [](raft::Core& core, std::uint64_t now) { core.tick(now); });
  }
  void take_snapshot(std::uint16_t node) {
    step(node, [&](raft::Core& core, std::uint64_t) {
      core.snapshot_taken(machine(node).applied(), machine(node).snapshot());
    });
  }

  std::vector<raft::ReadReady> reads;
};

}  // namespace gallocy::sim
