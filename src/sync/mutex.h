// Mutex: both sides of one cluster-wide mutex, what its home knows and what a node that uses it knows.
//
// There is one token per mutex; the node that has it grants the lock to its threads without a message. The home keeps
// the chain of nodes through which the token will go: first the node that has it, then those that asked, in the order
// in which they asked. Each is told by the home who comes next as soon as somebody does, so a contended hand-over is
// one message from holder to holder (the queue of Mellor-Crummey and Scott, "Algorithms for scalable synchronization",
// TOCS 1991, with the home as keeper of the links). A node with nobody next keeps the token.
//
// Invariants
// 1. At most one node has the token, or it is in flight once, or it is in the home's vault (the chain is empty).
// 2. A node whose threads wait has the token, has asked for it, or the core is frozen (recovery).
// 3. A token that is here and free has neither waiters here nor a successor.
// 4. While a successor is known, at most Options::most_local_turns threads of this node get the lock in a row.
#pragma once

#include <cstdint>

#include "sync/cell_pool.h"
#include "sync/effects.h"
#include "sync/home_knew.h"
#include "sync/state_digest.h"
#include "sync/view.h"

namespace gallocy::sync {

class Context;

class Mutex {
 public:
  // How a thread waits for the lock, and so what it is told when it gets it.
  enum class Wait : std::uint8_t { kLock, kTry, kAfterWait, kAfterTimeout, kAfterLoss };

  // The path without a message: true if the token was here and free, and now is held.
  bool take_if_here() {
    if (!token_ || held_ || suspect_) return false;
    return held_ = true;
  }
  // The same for unlocking: true if nobody waits.
  bool drop_if_unwanted() {
    if (!held_ || !waiters_.empty() || next_ != kNoNode) return false;
    held_ = false;
    return true;
  }

  Outcome lock(Context& context, SyncId id, WaiterId waiter, Wait wait = Wait::kLock);
  Outcome try_lock(Context& context, SyncId id, WaiterId waiter);
  bool unlock(Context& context, SyncId id);  // false: it was not held
  bool held() const { return held_; }
  bool has_token() const { return token_; }
  bool awaits_token() const { return requested_; }

  // What every kind has; see object.h.
  bool receive(Context& context, SyncId id, NodeId from, const wire::SyncMessage& m);
  bool cancel(Context& context, SyncId id, WaiterId waiter);
  void end_waits(Context& context, Outcome outcome);
  void inherit() { orphan_ = true; }
  void view_changed(Context& context, SyncId id, const Death& death);
  void homes_move(Context& context, SyncId id, bool was_home);
  void enroll(Context& context, SyncId id);
  void homes_moved(Context& context, SyncId id);
  bool drop(Context& context, SyncId id);
  void check(const Context& context, SyncId id) const;
  void digest(const Context& context, StateDigest& digest) const;

 private:
  // The side of a node that uses the mutex.
  void request(Context& context, SyncId id);
  void hand_over(Context& context, SyncId id);
  void grant_first(Context& context);
  void pass(Context& context, SyncId id);
  bool token_arrived(Context& context, SyncId id, const wire::SyncMessage& m);
  bool successor(Context& context, SyncId id, const wire::SyncMessage& m);
  void try_forwarded(Context& context, SyncId id, const wire::SyncMessage& m);
  void denied(Context& context, SyncId id, const wire::SyncMessage& m);

  // The side of the home.
  bool acquire(Context& context, SyncId id, NodeId from, std::uint32_t ticket, bool only_try);
  bool passed(Context& context, SyncId id, NodeId from, const wire::SyncMessage& m);
  bool registered(Context& context, NodeId from, const wire::SyncMessage& m);

  Queue waiters_;                  // threads of this node; the first may be a try
  std::uint32_t ticket_ = 0;       // of the last request of this node
  std::uint32_t next_ticket_ = 0;  // of next_
  NodeId next_ = kNoNode;          // who gets the token after this node
  std::uint16_t local_turns_ = 0;  // grants here since next_ is known
  bool token_ = false;             // here
  bool held_ = false;              // by a thread of this node
  bool requested_ = false;
  bool suspect_ = false;  // the token comes from recovery: tell the next holder

  Queue chain_;          // home: cells (node, ticket)
  bool orphan_ = false;  // home: if nobody has the token, it died with a node
  KnownByHome home_knew_;
};

}  // namespace gallocy::sync
