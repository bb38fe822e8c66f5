// RwLock: both sides of one cluster-wide shared mutex.
//
// Nodes hold *rights*: many the right to read, or one the right to write (which includes reading). A node lends its
// right to its threads without a message and keeps it until the home recalls it. The home grants requests in the order
// in which they came, so neither readers nor writers starve: once a writer is first in the queue, the readers' rights
// are recalled, and no reader that comes later overtakes it.
//
// Invariants
// 1. If a node has the right to write, no other node has a right.
// 2. Threads of a node read only under a right, and write only under the right to write.
// 3. A node asks only when it has no right, and has at most one request open.
#pragma once

#include <cstdint>

#include "sync/cell_pool.h"
#include "sync/effects.h"
#include "sync/home_knew.h"
#include "sync/state_digest.h"
#include "sync/view.h"

namespace gallocy::sync {

class Context;

enum class LockMode : std::uint8_t { kShared, kExclusive };

class RwLock {
 public:
  bool take_if_here(LockMode mode);  // as in Mutex
  bool drop_if_unwanted(LockMode mode);

  Outcome lock(Context& context, SyncId id, LockMode mode, WaiterId waiter);
  Outcome try_lock(Context& context, SyncId id, LockMode mode, WaiterId waiter);
  bool unlock(Context& context, SyncId id, LockMode mode);

  bool receive(Context& context, SyncId id, NodeId from, const wire::SyncMessage& m);
  bool cancel(Context& context, SyncId id, WaiterId waiter);
  void end_waits(Context& context, Outcome outcome);
  void inherit() { half_written_ = true; }
  void view_changed(Context& context, SyncId id, const Death& death);
  void homes_move(Context& context, SyncId id, bool was_home);
  void enroll(Context& context, SyncId id);
  void homes_moved(Context& context, SyncId id);
  // While homes move: it has given back a right that a writer may have died with.
  void given_back_late();
  bool drop(Context& context, SyncId id);
  void check(const Context& context, SyncId id) const;
  void digest(const Context& context, StateDigest& digest) const;

  enum class Right : std::uint8_t { kNone, kRead, kWrite };
  Right right() const { return right_; }
  bool awaits_right() const { return requested_; }

 private:
  bool idle() const { return active_readers_ == 0 && !writing_; }
  bool fits(LockMode mode) const;
  void begin(LockMode mode);
  bool end(LockMode mode);

  void pump(Context& context, SyncId id);
  void give_back(Context& context, SyncId id);
  bool granted(Context& context, SyncId id, const wire::SyncMessage& m);
  void recalled(Context& context, SyncId id, const wire::SyncMessage& m);
  void denied(Context& context, SyncId id, const wire::SyncMessage& m);

  void pump_home(Context& context, SyncId id);
  void recall_holders(Context& context, SyncId id, const Cell& wanted);
  bool requested(Context& context, SyncId id, NodeId from, const wire::SyncMessage& m);
  bool released(Context& context, SyncId id, NodeId from, std::uint8_t mode);
  void busy(Context& context, SyncId id, const wire::SyncMessage& m);
  bool registered(Context& context, NodeId from, const wire::SyncMessage& m);

  Queue waiters_;  // threads of this node: mode kSyncWrite, kSyncTry
  std::uint32_t ticket_ = 0;
  std::uint32_t active_readers_ = 0;
  Right right_ = Right::kNone;
  bool writing_ = false;
  bool requested_ = false;
  bool recalled_ = false;
  bool suspect_ = false;  // the right came with the news that the data are half-written

  KnownByHome home_knew_;
  bool half_written_ = false;  // home: a writer may have died inside, and none has repaired it since
  bool writer_out_ = false;    // home: the one holder has the right to write
  Queue queue_;                // home: requests, cells (node, ticket, mode)
  Queue holders_;              // home: cells (node, mode kRecalled or 0)
};

}  // namespace gallocy::sync
