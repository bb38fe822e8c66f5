// Barrier: both sides of one reusable cluster-wide barrier of `expected` threads.
//
// The home counts arrivals and releases them in the order in which they came, so phases cannot mix, whoever takes part.
// A node sends one message per phase: it holds arrivals back until as many threads of it have come as were released
// last time. When that guess proves wrong once (arrivals are held back for longer than a tick), the node stops guessing
// for this barrier.
//
// A barrier that exists when a node dies is broken for good: nobody can tell whether the dead were expected.
#pragma once

#include <cstdint>

#include "sync/cell_pool.h"
#include "sync/effects.h"
#include "sync/state_digest.h"
#include "sync/view.h"

namespace gallocy::sync {

class Context;

class Barrier {
 public:
  Outcome arrive(Context& context, SyncId id, std::uint32_t expected, WaiterId waiter);
  // Looks at arrivals that are held back; false: there are none, or no longer.
  bool still_holding(Context& context, SyncId id);

  bool receive(Context& context, SyncId id, NodeId from, const wire::SyncMessage& m);
  bool cancel(Context& context, SyncId id, WaiterId waiter);  // the arrival counts all the same
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
  void send_arrivals(Context& context, SyncId id);
  bool released(Context& context, std::uint32_t count);
  bool home_arrive(Context& context, SyncId id, NodeId from, const wire::SyncMessage& m);
  void release_phase(Context& context, SyncId id);

  Queue waiting_;                 // threads of this node in order of arrival; waiter 0: gave up
  std::uint32_t arrived_ = 0;     // length of waiting_
  std::uint32_t held_ = 0;        // of these, not yet sent
  std::uint32_t batch_ = 0;       // arrivals of the last phase here; 0: none yet
  std::uint32_t held_since_ = 0;  // tick
  bool listed_ = false;           // in Context::holding_arrivals
  bool guess_ = true;
  bool broken_ = false;

  std::uint32_t expected_ = 0;  // as last called here; at the home, as first called
  Queue arrivals_;              // home: cells (node, count)
  std::uint64_t total_ = 0;     // home: sum of the counts
};

}  // namespace gallocy::sync
