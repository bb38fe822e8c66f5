// Effects: what a turn of a Core asks its driver to do, in this order:
//   0. notes: make them durable (Options::keep). All else, also of later turns, waits until they are
//   1. messages: send them; those to one node arrive in this order, or not at all when it or this node dies
//   2. reads, commits: tell the callers. Only while this node may be sure that it is a member: see Core::set_lease
#pragma once

#include <vector>

#include "durable/journal.h"
#include "durable/message.h"

namespace gallocy::durable {

struct Outgoing {
  NodeId to{};
  Message message;
};

struct ReadDone {
  Ticket ticket{};
  Outcome outcome = Outcome::kDone;
  BlockId block{};  // of which the outcome speaks
  Bytes bytes;
};

struct CommitDone {
  Ticket ticket{};
  Outcome outcome = Outcome::kDone;
  BlockId block{};
};

struct Effects {
  std::vector<Note> notes;
  std::vector<Outgoing> messages;
  std::vector<ReadDone> reads;
  std::vector<CommitDone> commits;
};

}  // namespace gallocy::durable
