// Replication: how records get into one order that all nodes agree on. The seam between what the log means (Log,
// Machine) and how it is kept.
//
// A Replication takes opaque records in on any node, and hands the same sequence of them, numbered from 1, to the
// ReplicatedState of every node. That is all that Log relies on:
//   * a record handed in may be lost, and may stand in the sequence twice. Log repeats what was not answered, and the
//     sessions, which are part of the replicated state, carry a repetition out once;
//   * who orders the records is nobody else's business. No caller of Log names the keeper, so a leader that changes
//     needs no change in them;
//   * the state can be had as a snapshot and be replaced by one, so a replication may drop the head of its log.
// KeeperReplication has one node order all records; RaftReplication has a leader whom a majority elects.
//
// Threads: none; pure. Events in, effects out. `now` is the node's own clock in microseconds, which never goes back.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "raft/effects.h"
#include "vmm/membership.h"
#include "vmm/record.h"
#include "wire/vmm.h"

namespace gallocy::vmm {

inline constexpr std::uint64_t kNever = ~std::uint64_t{0};  // a deadline

using Ticket = Id<struct TicketTag, std::uint64_t>;  // chosen by the caller of Log::propose, who knows it again

struct Send {
  std::vector<NodeId> to;
  wire::MessageType type{};
  Bytes body;
};

// An entry that went through the log, in its order. It may have been rejected: then `outcome` has the reason.
struct Applied {
  LogIndex index{};
  NodeId proposer{};
  Entry entry;
  Result<Outcome> outcome;
};

struct Resolved {
  Ticket ticket{};
  Result<Outcome> outcome;
};

// What a driver has to do after an event, in this order:
//   1. restored: take everything over from Log::machine() anew (`applied` is empty then)
//   2. applied: follow each entry that was not rejected. Use the entry and its outcome; the machine already is as the
//      last of them left it
//   3. persist, in order: begin these writes. When one is on stable storage, call Log::persisted. What depends on it is
//      held back meanwhile, so nobody waits
//   4. sends, in order
//   5. resolved: tell the proposers, whose own node has followed the entry by then
struct Effects {
  bool restored = false;
  std::vector<Applied> applied;
  std::vector<raft::Persist> persist;
  std::vector<Send> sends;
  std::vector<Resolved> resolved;
};

class ReplicatedState {
 public:
  virtual LogIndex applied() const = 0;
  // Whether a record that `from` hands in may enter the log at all. kProtocol otherwise.
  virtual Result<> acceptable(NodeId from, std::span<const std::byte> record) const = 0;
  // The record at `index`, which is applied() + 1. An error (kProtocol) if it is none; nothing has happened then.
  virtual Result<> commit(LogIndex index, std::span<const std::byte> record, Effects& effects) = 0;
  virtual Bytes snapshot() const = 0;  // of the state at applied()
  virtual Result<> restore(LogIndex index, std::span<const std::byte> snapshot, Effects& effects) = 0;
  // Who belongs to the cluster, as of applied().
  virtual Standing standing(const Life& life) const = 0;
  virtual std::vector<Life> present() const = 0;
  virtual std::uint64_t last_life(NodeId node) const = 0;  // 1 if the log knows of none
  virtual bool on_disk(NodeId node) const = 0;             // its log is

 protected:
  ~ReplicatedState() = default;
};

class Replication {
 public:
  virtual ~Replication() = default;

  virtual void start(std::uint64_t now, Effects& effects) = 0;
  // A record of this node.
  virtual void submit(Bytes record, std::uint64_t now, Effects& effects) = 0;
  // A message of another node's Replication. kProtocol if it makes no sense.
  virtual Result<> message(NodeId from, wire::MessageType type, std::span<const std::byte> body, std::uint64_t now,
                           Effects& effects) = 0;
  // Time passes. To be called at next_deadline(), or later.
  virtual void tick(std::uint64_t now, Effects& effects) = 0;
  virtual std::uint64_t next_deadline() const = 0;
  // The driver has handed in all events that were there: time to send what was gathered.
  virtual void flush(std::uint64_t now, Effects& effects) = 0;
  // The write with this number and all before it are on stable storage; nothing can be written for now.
  virtual void persisted(std::uint64_t, std::uint64_t, Effects&) {}
  virtual void cannot_persist(std::uint64_t, Effects&) {}
  // There is no connection to this node any more; there is one again, perhaps to another life of it.
  virtual void peer_down(NodeId peer, std::uint64_t now, Effects& effects) = 0;
  virtual void peer_up(NodeId peer) = 0;
  // An error once nothing can come through this log any more.
  virtual Result<> usable() const = 0;
  // Who orders the records, as a number that changes with it: what was handed in before may be lost. 0: nobody for now.
  virtual std::uint64_t reign() const = 0;
  // Whether this node does.
  virtual bool orders() const = 0;
  // Whether the log could end with this node: it keeps it, alone or as one whose vote counts.
  virtual bool votes() const = 0;
};

}  // namespace gallocy::vmm
