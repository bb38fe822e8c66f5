// Core: cluster-wide synchronisation as one node sees it: mutex, shared mutex, condition variable, semaphore, barrier,
// latch, once, and the barrier of all nodes.
//
// Pure: events in, effects out (effects.h). No clock, thread or system call. Not thread-safe: the driver calls it under
// one lock and carries the effects out, in order, before it lets the next event in. It needs from the transport that
// messages between two nodes arrive in order, and that every node that lives is told of each death, in whatever order,
// after all that the dead node sent it.
//
// Waiting. A call that can wait takes a waiter: a number, not 0, that the driver chose for the thread, in use for one
// wait at a time. The result is either returned at once, or kPending is returned and exactly one wake effect for the
// waiter follows, in this or in a later step. cancel() ends a wait; what crosses with it is passed on, never lost.
//
// Objects need no creation: the first message makes their state at the home, and what is as new is forgotten again.
//
// Death of a node (recovery.cc). All state of mutexes at homes is thrown away and rebuilt from what the survivors hold:
// 1. A node that learns of the death stops asking and passing on (frozen), and sends Flush to all.
// 2. With a Flush of the same view from everybody, nothing older is in flight to it. It registers the tokens and rights
//    it has with the homes (the successors, for objects of the dead), sends Rebuilt to all, and asks again for what its
//    threads wait for. The order of waiting nodes is not kept.
// 3. With a Rebuilt from everybody a home knows where every token is, and serves again. A token that nobody registered
//    died with a node; its next holder is told kOwnerDied. That also goes for all mutexes of a dead home of which no
//    token is found: nobody knows what the dead home's own threads held.
// Messages carry the view of their sender: newer ones wait, older ones are dropped where recovery has made them void.
//
// Move of homes (homes_move): the home of all objects is about to leave, where there is one founder. The same recovery,
// in which nobody loses anything: the home that was registers with the next one what only it knew (counts of semaphores
// and latches, owners that died), and keeps it until the recovery is over. All others ask again for what they wait
// for, so what a home's queues had need not move; what they had only told the home that was, it passes on. The next
// home says Rebuilt last: who has heard it from all knows that everything has arrived. If the home that was dies
// before, all is as after the death of a home. Waits on condition variables end as if they had been notified.
// Semaphores, latches, barriers: see their headers for what survives. Waits for "somebody", of which nobody can tell
// whether that was the dead node, end with kPeerLost.
//
// Invariants
// 1. Every thread that waits is in exactly one queue of this node, and something that will end its wait is on its way
// or
//    known to the home; check_invariants() and the simulator hold the details.
// 2. A message that breaks the protocol changes nothing and is counted (Counters::refused).
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "sync/context.h"
#include "sync/effects.h"
#include "sync/meet.h"
#include "sync/options.h"
#include "sync/sync_id.h"

namespace gallocy::sync {

enum class Notify : std::uint8_t { kOne, kAll };

// Who is passed over as a home, after so many moves.
struct HomesMoved {
  std::vector<NodeId> passed_over;
  std::uint16_t moves = 0;
  bool a_home_died = false;  // ever
};

class Core {
 public:
  explicit Core(const Options& options);

  // Mutex. Granted, owner died, pending. try_lock may need a round trip too: then would_block is the pending answer.
  Outcome lock(SyncId id, WaiterId waiter, Effects& effects);
  Outcome try_lock(SyncId id, WaiterId waiter, Effects& effects);
  Outcome unlock(SyncId id, Effects& effects);  // granted; mismatch: it was not held here

  // Shared mutex.
  Outcome rw_lock(SyncId id, LockMode mode, WaiterId waiter, Effects& effects);
  Outcome try_rw_lock(SyncId id, LockMode mode, WaiterId waiter, Effects& effects);
  Outcome rw_unlock(SyncId id, LockMode mode, Effects& effects);

  // Condition variable. The caller holds the mutex, and holds it again after the wait: granted, owner died (the
  // mutex's), timeout (cancelled), peer lost. mismatch: it does not hold the mutex.
  Outcome wait(SyncId id, SyncId mutex, WaiterId waiter, Effects& effects);
  Outcome notify(SyncId id, Notify whom, Effects& effects);

  // Semaphore. `initial` counts on the first use by anybody. acquire: granted, pending, peer lost.
  Outcome acquire(SyncId id, std::uint32_t initial, WaiterId waiter, Effects& effects);
  Outcome try_acquire(SyncId id, std::uint32_t initial, WaiterId waiter, Effects& effects);
  Outcome release(SyncId id, std::uint32_t initial, std::uint32_t permits, Effects& effects);

  // Barrier of `expected` threads: granted, pending, peer lost, mismatch (another number than before).
  Outcome arrive(SyncId id, std::uint32_t expected, WaiterId waiter, Effects& effects);

  // Latch.
  Outcome count_down(SyncId id, std::uint32_t expected, std::uint32_t update, Effects& effects);
  Outcome latch_wait(SyncId id, std::uint32_t expected, WaiterId waiter, Effects& effects);
  Outcome latch_try_wait(SyncId id, std::uint32_t expected, WaiterId waiter, Effects& effects);

  // Once: run (the caller runs the function and then calls once_end), granted (it has run).
  Outcome once_call(SyncId id, WaiterId waiter, Effects& effects);
  Outcome once_end(SyncId id, bool success, Effects& effects);  // false: another thread is to run it

  // The barrier of all live nodes, one thread each.
  Outcome meet(WaiterId waiter, Effects& effects);
  Outcome cancel_meet(WaiterId waiter);

  // The waiter of this object gives up. timeout: it is over, no wake follows. pending: the wait is over already, or
  // cannot be given up (a condition variable's mutex is to be taken again): its wake is among earlier effects, these,
  // or follows.
  Outcome cancel(SyncId id, WaiterId waiter, Effects& effects);

  void message(NodeId from, const wire::SyncMessage& message, Effects& effects);
  // The node has come. A number comes once.
  void node_joined(NodeId node, Effects& effects);
  // Of a node that joins, once and before any call: `gone` were there before it. A recovery that it came into the
  // middle of need not wait for it, as it has nothing to register.
  void introduce(const std::vector<NodeId>& gone, Effects& effects) { introduce(gone, {}, effects); }
  void introduce(const std::vector<NodeId>& gone, const HomesMoved& moved, Effects& effects);
  // Only where there is one founder, and meet() is not used. `moved`: after all moves so far.
  void homes_move(const HomesMoved& moved, Effects& effects);
  void node_died(NodeId node, Effects& effects);
  // The node has left in order: it was nobody's home, and gave its tokens back before.
  void node_left(NodeId node, Effects& effects);
  // Mutexes and shared mutexes whose token or right is here and not in use: before a node leaves, their homes take them
  // back, by locking them. And those that come yet: a thread asked for them and gave up, or tries.
  struct Kept {
    SyncId id{};
    bool is_shared_mutex = false;
    NodeId home{};
    bool is_here = true;
  };
  std::vector<Kept> kept();
  // The program knows of all deaths so far: barriers, latches and semaphores count on the living from now on. Until
  // then waits on them that could last fail with kPeerLost.
  void acknowledge_losses() { context_.acknowledged = context_.view.deaths(); }
  // Every few milliseconds: sends arrivals that were held back in vain, forgets objects that are as new.
  void tick(Effects& effects);

  NodeId home_of(SyncId id) const { return context_.home(id); }
  const Counters& counters() const { return context_.counters; }
  std::size_t objects() const { return context_.objects.size(); }
  std::size_t metadata_bytes() const;
  bool recovering() const { return context_.rebuilding; }
  bool introduced() const { return introduced_; }
  // Where there is one founder: nothing that this node was the home of depends on it. One that gave up before it was
  // introduced may be in a recovery that it will see no end of; but it was nobody's home.
  bool has_no_homes() const {
    return !introduced_ || (!recovering() && home_of(unnamed_id(context_.self(), 1)) != context_.self());
  }
  std::uint16_t known_deaths() const { return context_.view.deaths(); }

  void check_invariants() const;
  std::uint64_t digest() const;
  const Object* object(SyncId id) { return context_.objects.find(id); }  // for checkers

 private:
  template <typename Kind, typename F>
  Outcome serve(SyncId id, WaiterId waiter, Effects& effects, F f);
  template <typename Kind>
  bool pass_to(SyncId id, NodeId from, const wire::SyncMessage& m);

  void begin(WaiterId waiter, Effects& effects);
  Outcome end(Outcome outcome);
  void receive(NodeId from, const wire::SyncMessage& m);
  bool asks_an_heir(const wire::SyncMessage& m) const;
  bool addressed_rightly(NodeId from, const wire::SyncMessage& m) const;
  bool deliver(NodeId from, const wire::SyncMessage& m);
  void mismatch(NodeId to, const wire::SyncMessage& m);
  void sweep();

  // recovery.cc
  void defer(NodeId from, const wire::SyncMessage& m);
  void deliver_deferred();
  void to_all_others(wire::SyncVerb verb);
  bool all_reached(const std::vector<std::uint64_t>& views, bool also_self) const;
  void begin_recovery();
  void flush_arrived();
  void rebuilt_arrived();
  void say_rebuilt();
  bool rebuilds_last() const;
  void late(const wire::SyncMessage& m);

  Context context_;
  Meet meet_;
  std::size_t sweep_place_ = 0;

  std::vector<NodeId> homes_before_;                            // the last recovery that is over; with moves only
  bool introduced_ = false;                                     // see introduce()
  bool said_rebuilt_ = false;                                   // of this view
  std::vector<std::uint64_t> flushed_;                          // view of each node's last Flush
  std::vector<std::uint64_t> rebuilt_;                          // and Rebuilt
  std::vector<std::pair<NodeId, wire::SyncMessage>> deferred_;  // in order of arrival
};

}  // namespace gallocy::sync
