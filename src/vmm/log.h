// Log: the VMM log as its users see it. Any node proposes an entry; every node applies all entries in one order to its
// Machine; the proposer learns what became of it. How the order comes about is Replication's business (replication.h).
//
// Threads: none; pure. One thread at a time calls, and carries the effects out (their order: Effects). After the events
// of one turn the driver calls flush(), and tick() when next_deadline() has come. `now`: as in replication.h.
//
// Everyone says so in the log who was told of a peer_down (MemberMissed), before anything else that it proposes. Whom
// most of the others miss is dead. Where members miss each other and are not missed by most, who orders the log has
// the one die after a while that is missed, and misses, the most (Machine::suspect).
//
// Invariants
// 1. A ticket is resolved exactly once: with the outcome of its entry, after this node has applied it; with the reason
//    why it was not even proposed; or with why the log ended (kPeerLost).
// 2. A proposal is carried out at most once, however often it had to be sent.
// 3. Nodes that have applied the same number of entries have equal digests.
//
// Example
//   Log log({.self = self}, keeper_log({.self = self, .keeper = NodeId{0}}));
//   log.start(now, effects);
//   log.propose(MapRegion{"grid", 1 << 20, {}}, Ticket{7}, now, effects);  // effects: a send, or on the keeper the
//   result
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>

#include "vmm/keeper_replication.h"
#include "vmm/machine.h"
#include "vmm/raft_replication.h"
#include "vmm/replication.h"
#include "vmm/sessions.h"
#include "vmm/shard.h"

namespace gallocy::vmm {

struct LogOptions {
  NodeId self{};
  std::uint64_t incarnation = 1;  // of this node: grows with each of its lives, below 2^42
  // A proposal without an answer for so long is handed in again, then after twice the time, and so on: repetitions must
  // not be what keeps a slow log busy.
  std::uint64_t retry_us = 1'000'000;
  Shard shard{};
};

class Log final : private ReplicatedState {
 public:
  using MakeReplication = std::function<std::unique_ptr<Replication>(ReplicatedState&)>;
  Log(const LogOptions& options, const MakeReplication& make_replication);
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  void start(std::uint64_t now, Effects& effects);
  // Tickets are not 0.
  void propose(Entry entry, Ticket ticket, std::uint64_t now, Effects& effects);
  // A frame with one of the types of wire/vmm.h. kProtocol: the sender does not speak the protocol, part with it.
  Result<> message(NodeId from, wire::MessageType type, std::span<const std::byte> body, std::uint64_t now,
                   Effects& effects);
  // There is no connection to this life of a node any more; there is one.
  void peer_down(const Life& peer, std::uint64_t now, Effects& effects);
  void peer_up(const Life& peer);
  void tick(std::uint64_t now, Effects& effects);
  // Of a shard that is not the first: the members are those of the first company's log, of which this node has `first`.
  // Who orders this log writes down what it lacks of them. To be called when either has changed, and with each tick.
  void follow_members(const Machine& first, std::uint64_t now, Effects& effects);
  std::uint64_t next_deadline() const;
  void flush(std::uint64_t now, Effects& effects);
  // Of a log on disk: see Effects::persist. The disk is full: this node should not be who orders the records.
  void persisted(std::uint64_t sequence, std::uint64_t now, Effects& effects);
  void cannot_persist(std::uint64_t now, Effects& effects);

  const Machine& machine() const { return machine_; }
  Result<> usable() const { return replication_->usable(); }
  bool votes() const { return replication_->votes(); }
  bool orders() const { return replication_->orders(); }  // this node orders the records
  std::size_t open_proposals() const { return open_.size(); }
  std::uint64_t digest() const;  // of the whole replicated state
  void check_invariants() const;

 private:
  struct Open {
    Ticket ticket{};
    Entry entry;
    std::uint64_t due = kNever;  // to be handed in again
    unsigned repeated = 0;
  };

  LogIndex applied() const override { return machine_.applied(); }
  Result<> acceptable(NodeId from, std::span<const std::byte> record) const override;
  Result<> commit(LogIndex index, std::span<const std::byte> record, Effects& effects) override;
  Bytes snapshot() const override;
  Result<> restore(LogIndex index, std::span<const std::byte> snapshot, Effects& effects) override;
  Standing standing(const Life& life) const override { return machine_.standing(life); }
  std::uint64_t last_life(NodeId node) const override;
  bool on_disk(NodeId node) const override;
  std::vector<Life> present() const override;

  Result<Outcome> carry_out(LogIndex index, const Record& record, Effects& effects);
  void begin_life(const Life& life);
  void submit(RequestId request, std::uint64_t now, Effects& effects);
  void open(Entry entry, Ticket ticket, std::uint64_t now, Effects& effects);
  void submit_what_may_be(std::uint64_t now, Effects& effects);
  void after_event(std::uint64_t now, Effects& effects);
  void submit_to_new_reign(std::uint64_t now, Effects& effects);
  void declare_deaths(std::uint64_t now, Effects& effects);
  void settle_doubts(std::uint64_t now, Effects& effects);
  std::optional<Entry> lacks(const Machine& first) const;
  void resolve(RequestId request, const Result<Outcome>& outcome, Effects& effects);
  void fail_open_if_unusable(Effects& effects);

  const LogOptions options_;
  Machine machine_;
  Sessions sessions_;
  std::unique_ptr<Replication> replication_;
  RequestId next_request_;
  RequestId next_submit_;  // the first that was not handed in yet
  std::map<RequestId, Open> open_;
  std::uint64_t retry_due_ = kNever;  // not later than the first of open_
  std::uint64_t doubt_due_ = kNever;  // of who orders the log, while members miss each other
  std::uint64_t reign_ = 0;           // that open_ was handed in to
  RequestId following_{};             // what was last asked for by follow_members()
  struct Down {
    std::uint64_t life = 0;
    RequestId request{};  // that declares its death; 0: none yet
  };
  std::map<NodeId, Down> down_;
};

// Make a log kept by one node; by a company.
Log::MakeReplication keeper_log(const KeeperOptions& options);
Log::MakeReplication raft_log(const RaftOptions& options);

}  // namespace gallocy::vmm
