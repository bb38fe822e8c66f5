// Once: both sides of a cluster-wide call_once. The home decides who runs the function; when the runner ends without
// success, gives up or dies, the next waiting thread runs it. When the home dies, its successor learns from the others
// whether the function runs or has run.
#pragma once

#include <cstdint>

#include "sync/cell_pool.h"
#include "sync/effects.h"
#include "sync/state_digest.h"
#include "sync/view.h"

namespace gallocy::sync {

class Context;

class Once {
 public:
  Outcome call(Context& context, SyncId id, WaiterId waiter);  // kGranted: it has run; kRun: the caller runs it
  bool end(Context& context, SyncId id, bool success);         // false: no thread of this node runs it

  bool receive(Context& context, SyncId id, NodeId from, const wire::SyncMessage& m);
  bool cancel(Context& context, SyncId id, WaiterId waiter);
  void end_waits(Context& context, Outcome outcome);
  void inherit() {}
  void view_changed(Context& context, SyncId id, const Death& death);
  void homes_move(Context& context, SyncId id, bool was_home);
  void enroll(Context& context, SyncId id);
  void homes_moved(Context&, SyncId) {}
  bool drop(Context& context, SyncId id);
  void check(const Context& context, SyncId id) const;
  void digest(const Context& context, StateDigest& digest) const;

 private:
  void ask(Context& context, SyncId id, std::uint32_t ticket);
  bool told_to_run(Context& context, SyncId id, std::uint32_t ticket);
  void finished(Context& context);
  void home_call(Context& context, SyncId id, NodeId from, std::uint32_t ticket);
  bool home_end(Context& context, SyncId id, NodeId from, const wire::SyncMessage& m);
  void home_done(Context& context, SyncId id);
  void run_next(Context& context, SyncId id);

  Queue waits_;                // threads of this node: waiter, ticket
  std::uint32_t running_ = 0;  // ticket of the thread of this node that runs the function
  bool done_ = false;          // as far as this node knows; at the home: it is
  bool again_ = false;         // the home died, or homes move: ask the next one

  Queue queue_;                      // home: cells (node, ticket)
  NodeId runner_ = kNoNode;          // home
  std::uint32_t runner_ticket_ = 0;  // home
};

}  // namespace gallocy::sync
