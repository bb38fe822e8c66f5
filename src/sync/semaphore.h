// Semaphore: both sides of one cluster-wide counting semaphore. The count is at the home; each acquire is one round
// trip there, each release one message.
//
// A death ends all waits here with kPeerLost (who was to release may be dead), and until the program has acknowledged
// it, acquires that cannot be served at once fail the same way. The count dies with the home: the semaphore is *lost*
// then.
#pragma once

#include <cstdint>

#include "sync/cell_pool.h"
#include "sync/effects.h"
#include "sync/state_digest.h"
#include "sync/view.h"

namespace gallocy::sync {

class Context;

class Semaphore {
 public:
  enum class Wait : std::uint8_t { kWait, kTry, kUnlessLossy };

  Outcome acquire(Context& context, SyncId id, std::uint32_t initial, WaiterId waiter, Wait wait);
  void release(Context& context, SyncId id, std::uint32_t initial, std::uint32_t permits);

  bool receive(Context& context, SyncId id, NodeId from, const wire::SyncMessage& m);
  bool cancel(Context& context, SyncId id, WaiterId waiter);
  void end_waits(Context& context, Outcome outcome);
  void inherit() {}
  void view_changed(Context& context, SyncId id, const Death& death);
  void homes_move(Context& context, SyncId id, bool was_home);
  void enroll(Context& context, SyncId id);
  void homes_moved(Context& context, SyncId id);
  bool drop(Context& context, SyncId id);
  void check(const Context& context, SyncId id) const;
  void digest(const Context& context, StateDigest& digest) const;

 private:
  bool granted(Context& context, SyncId id, std::uint32_t ticket);
  bool denied(Context& context, const wire::SyncMessage& m);
  bool home_acquire(Context& context, SyncId id, NodeId from, const wire::SyncMessage& m);
  void home_release(Context& context, SyncId id, std::uint32_t permits);
  void begin(const Context& context, std::uint32_t initial);

  void ask(Context& context, SyncId id, const Cell& wait);
  bool registered(const Context& context, const wire::SyncMessage& m);

  Queue waits_;  // threads of this node: waiter, ticket, mode Wait, count: initial value
  Queue queue_;  // home: cells (node, ticket)
  std::uint64_t count_ = 0;
  std::uint32_t initial_ = 0;
  bool begun_ = false;             // home: count_ is valid
  std::uint16_t begun_after_ = 0;  // and was that of a home after so many moves
  bool lost_ = false;
  bool again_ = false;  // homes move: enroll() asks
};

}  // namespace gallocy::sync
