// Log: the VMM log as its users see it. Any node proposes an entry; every node applies all entries in one order to its
// Machine; the proposer learns what became of it. How the order comes about is Replication's business (replication.h).
//
// Threads: none; pure. One thread at a time calls, and carries the effects out (their order: Effects). After the events
// of one turn the driver calls flush(), and tick() at a steady pace.
//
// Invariants
// 1. A ticket is resolved exactly once: with the outcome of its entry, after this node has applied it; with the reason
//    why it was not even proposed; or with why the log ended (kPeerLost).
// 2. A proposal is carried out at most once, however often it had to be sent.
// 3. Nodes that have applied the same number of entries have equal digests.
//
// Example
//   Log log({.self = self}, keeper_log({.self = self, .keeper = NodeId{0}}));
//   log.start(effects);
//   log.propose(MapRegion{"grid", 1 << 20, {}}, Ticket{7}, effects);   // effects: a send, or on the keeper the result
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>

#include "vmm/keeper_replication.h"
#include "vmm/machine.h"
#include "vmm/replication.h"
#include "vmm/sessions.h"

namespace gallocy::vmm {

struct LogOptions {
  NodeId self{};
  unsigned retry_ticks = 50;  // a proposal without an answer for so long is handed in again
};

class Log final : private ReplicatedState {
 public:
  using MakeReplication = std::function<std::unique_ptr<Replication>(ReplicatedState&)>;
  Log(const LogOptions& options, const MakeReplication& make_replication);
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  void start(Effects& effects);
  void propose(Entry entry, Ticket ticket, Effects& effects);
  // A frame with one of the types of wire/vmm.h. kProtocol: the sender does not speak the protocol, part with it.
  Result<> message(NodeId from, wire::MessageType type, std::span<const std::byte> body, Effects& effects);
  void peer_down(NodeId peer, Effects& effects);
  void tick(Effects& effects);
  void flush(Effects& effects);

  const Machine& machine() const { return machine_; }
  std::size_t open_proposals() const { return open_.size(); }
  std::uint64_t digest() const;  // of the whole replicated state
  void check_invariants() const;

 private:
  struct Open {
    Ticket ticket{};
    Entry entry;
    unsigned waited_ticks = 0;
  };

  LogIndex applied() const override { return machine_.applied(); }
  Result<> acceptable(NodeId from, std::span<const std::byte> record) const override;
  Result<> commit(LogIndex index, std::span<const std::byte> record, Effects& effects) override;
  Bytes snapshot() const override;
  Result<> restore(LogIndex index, std::span<const std::byte> snapshot, Effects& effects) override;

  Result<Outcome> carry_out(LogIndex index, const Record& record, Effects& effects);
  void submit(RequestId request, Effects& effects);
  void resolve(RequestId request, const Result<Outcome>& outcome, Effects& effects);
  void fail_open_if_unusable(Effects& effects);

  const LogOptions options_;
  Machine machine_;
  Sessions sessions_;
  std::unique_ptr<Replication> replication_;
  RequestId next_request_{1};
  std::map<RequestId, Open> open_;
};

// Makes a log kept by one node.
Log::MakeReplication keeper_log(const KeeperOptions& options);

}  // namespace gallocy::vmm
