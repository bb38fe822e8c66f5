// Condition: both sides of one cluster-wide condition variable.
//
// The home keeps the queue of waiting threads. A thread is put into it *before* its node releases the mutex: otherwise
// a thread elsewhere could take the mutex and notify while the waiter is still on its way, and the notification would
// be lost. A notified thread waits for the mutex like any other that wants to lock, and wakes when it has it; so
// notify_all wakes them one after the other.
//
// A death ends all waits (the notifier may be the dead node) with kPeerLost; the mutex is taken again first. The driver
// may present that as a spurious wake-up.
#pragma once

#include <cstdint>

#include "sync/cell_pool.h"
#include "sync/effects.h"
#include "sync/mutex.h"
#include "sync/state_digest.h"

namespace gallocy::sync {

class Condition {
 public:
  // The caller holds the mutex. kMismatch: it does not.
  Outcome wait(Context& context, SyncId id, SyncId mutex, WaiterId waiter);
  void notify(Context& context, SyncId id, bool all);

  bool receive(Context& context, SyncId id, NodeId from, const wire::SyncMessage& m);
  // As in the other kinds; if the mutex is to be taken again first, the wait goes on there (and false is returned).
  bool cancel(Context& context, SyncId id, WaiterId waiter);
  void end_waits(Context& context, Outcome outcome);
  void inherit() {}
  void view_changed(Context& context, SyncId id, const Death& death);
  void homes_move(Context& context, SyncId id, bool was_home);
  void enroll(Context&, SyncId) {}
  void homes_moved(Context&, SyncId) {}
  bool drop(Context& context, SyncId id);
  void check(const Context& context, SyncId id) const;
  void digest(const Context& context, StateDigest& digest) const;

 private:
  bool enqueued(Context& context, std::uint32_t ticket);
  void wake_one(Context& context, SyncId id, std::uint32_t ticket);
  void wake_all(Context& context);
  void home_notify(Context& context, SyncId id, bool all);
  // A wait that is over: takes the mutex again, if it was released.
  static void finish(Context& context, const Cell& waiter, Mutex::Wait how, Outcome if_held);

  Queue waits_;  // threads of this node: waiter, object: mutex, ticket, mode
  Queue queue_;  // home: cells (node, ticket)
};

}  // namespace gallocy::sync
