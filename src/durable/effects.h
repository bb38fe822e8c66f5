// Effects: what a turn of a Core asks its driver to do, in this order:
//   1. messages: send them; those to one node arrive in this order, or not at all when it or this node dies
//   2. reads, commits: tell the callers. Only while this node may be sure that it is a member: see Core::set_lease
#pragma once

#include <vector>

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
  std::vector<Outgoing> messages;
  std::vector<ReadDone> reads;
  std::vector<CommitDone> commits;
};

}  // namespace gallocy::durable
