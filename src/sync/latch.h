// Latch: both sides of one cluster-wide latch. The home counts down; a node that waits subscribes once and is told when
// the latch opens, and from then on answers from what it knows.
//
// A death ends all waits here with kPeerLost; until the program has acknowledged it, waiting means asking once. The
// count dies with the home, unless a node is left that knows the latch to be open.
#pragma once

#include <cstdint>

#include "sync/cell_pool.h"
#include "sync/effects.h"
#include "sync/state_digest.h"
#include "sync/view.h"

namespace gallocy::sync {

class Context;

class Latch {
 public:
  enum class Wait : std::uint8_t { kWait, kTry, kUnlessLossy };

  void count_down(Context& context, SyncId id, std::uint32_t expected, std::uint32_t update);
  Outcome wait(Context& context, SyncId id, std::uint32_t expected, WaiterId waiter, Wait wait);

  bool receive(Context& context, SyncId id, NodeId from, const wire::SyncMessage& m);
  bool cancel(Context& context, SyncId id, WaiterId waiter);
  void end_waits(Context& context, Outcome outcome);
  void inherit() {}
  void view_changed(Context& context, SyncId id, const Death& death);
  void homes_move(Context& context, SyncId id, bool was_home);
  void enroll(Context& context, SyncId id);
  void homes_moved(Context& context, SyncId id);
  // Never: that it is open must not be forgotten.
  bool drop(Context&, SyncId) { return false; }
  void check(const Context& context, SyncId id) const;
  void digest(const Context& context, StateDigest& digest) const;

 private:
  void ask(Context& context, SyncId id, const Cell& wait);
  void opened(Context& context);
  bool answered(Context& context, const wire::SyncMessage& m);
  void fail_matching(Context& context, bool also_tries);
  bool begin(const Context& context, std::uint32_t expected);
  void home_count_down(Context& context, SyncId id, std::uint32_t update);
  void open_home(Context& context, SyncId id);

  Queue waits_;        // threads of this node: waiter, ticket, mode Wait, count: expected
  Queue subscribers_;  // home: cells (node)
  std::uint32_t remaining_ = 0;
  bool begun_ = false;             // home: remaining_ is valid
  std::uint16_t begun_after_ = 0;  // and was that of a home after so many moves
  bool open_ = false;              // as far as this node knows; at the home: it is
  bool lost_ = false;
  bool subscribed_ = false;
  bool again_ = false;  // homes move: enroll() asks
};

}  // namespace gallocy::sync
