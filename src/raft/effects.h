// Effects: what a turn of a Core asks its driver to do.
//
// The driver carries them out in this order, and may go on with the next event while a write is under way:
//   1. persist: begin the write, after those before it. When it is on stable storage, call Core::persisted. Messages
//      that promise what is not durable yet are held back by the core, so the driver need not order writes and sends.
//      A driver that cannot write (disk full) reports nothing and tries again: the server then acknowledges nothing.
//   2. restore: replace the state machine by this snapshot
//   3. committed: apply these entries, in order; they follow what was applied or restored before
//   4. messages: send them. They may be lost, repeated, late and out of order
//   5. reads: answer each, with a state machine that has applied up to its index
#pragma once

#include <tl/expected.hpp>
#include <vector>

#include "raft/message.h"

namespace gallocy::raft {

// Why a request was not taken, or did not come through.
enum class Refusal : std::uint8_t {
  kNotLeader,      // see Core::leader()
  kTransferring,   // leadership is being passed on: soon somebody else is leader
  kTooLarge,       // entry above wire::kMaxRaftEntryBytes
  kTooManyOpen,    // entries or reads that have no answer yet: wait
  kChangePending,  // the last change of membership is not committed yet
  kTermNotBegun,   // nothing of the leader's term is committed yet (the fix of July 2015, see core_membership.cc)
  kNotCaughtUp,    // the learner is too far behind to vote
  kNoSuchChange,   // no such server, or it is already what it shall be
};

// The log from `first` on is replaced by `entries`; first > the last index: nothing changes but the rest.
struct Persist {
  std::uint64_t sequence = 0;
  Term term{};
  ServerId vote{};
  std::optional<Snapshot> snapshot;  // replaces the former one; entries up to its index may be deleted
  LogIndex first{};
  std::vector<Entry> entries;
};

struct Committed {
  LogIndex index{};
  Entry entry;
};

using Ticket = Id<struct TicketTag, std::uint64_t>;  // chosen by the caller of Core::read, who knows it again

struct ReadReady {
  Ticket ticket{};
  tl::expected<LogIndex, Refusal> index;
};

struct Effects {
  std::optional<Persist> persist;
  std::optional<Snapshot> restore;
  std::vector<Committed> committed;
  std::vector<Message> messages;
  std::vector<ReadReady> reads;
};

}  // namespace gallocy::raft
