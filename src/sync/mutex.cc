#include "sync/mutex.h"

#include <utility>

#include "sync/context.h"

namespace gallocy::sync {

using wire::SyncMessage;
using wire::SyncVerb;

Outcome Mutex::lock(Context& context, SyncId id, WaiterId waiter, Wait wait) {
  context.cells.push(waiters_, {.waiter = waiter.value, .mode = static_cast<std::uint8_t>(wait)});
  if (token_ && !held_) {
    grant_first(context);
  } else {
    request(context, id);
  }
  return Outcome::kPending;
}

Outcome Mutex::try_lock(Context& context, SyncId id, WaiterId waiter) {
  if (token_ ? held_ : requested_ || !waiters_.empty()) return Outcome::kWouldBlock;
  return lock(context, id, waiter, Wait::kTry);
}

bool Mutex::unlock(Context& context, SyncId id) {
  if (!held_) return false;
  held_ = false;
  hand_over(context, id);
  return true;
}

void Mutex::request(Context& context, SyncId id) {
  if (token_ || requested_ || waiters_.empty() || context.frozen()) return;
  requested_ = true;
  ticket_ = context.next_ticket();
  const bool only_try = context.cells.front(waiters_).mode == static_cast<std::uint8_t>(Wait::kTry);
  context.send_home(
      id, {.ticket = ticket_, .verb = SyncVerb::kMutexAcquire, .mode = only_try ? wire::kSyncTry : std::uint8_t{0}});
}

// The token is here and free.
void Mutex::hand_over(Context& context, SyncId id) {
  const bool turn_left = next_ == kNoNode || local_turns_ < context.options.most_local_turns;
  if (!waiters_.empty() && turn_left) {
    if (next_ != kNoNode) ++local_turns_;
    grant_first(context);
  } else if (next_ != kNoNode) {
    pass(context, id);
  }
}

void Mutex::grant_first(Context& context) {
  const Cell cell = context.cells.pop(waiters_);
  held_ = true;
  Outcome outcome = suspect_ ? Outcome::kOwnerDied : Outcome::kGranted;
  // A thread that hears of its timeout or loss does not hear of the dead owner: the next one will.
  if (cell.mode == static_cast<std::uint8_t>(Wait::kAfterTimeout)) {
    outcome = Outcome::kTimeout;
  } else if (cell.mode == static_cast<std::uint8_t>(Wait::kAfterLoss)) {
    outcome = Outcome::kPeerLost;
  } else {
    suspect_ = false;
  }
  context.wake(cell.waiter, outcome);
}

void Mutex::pass(Context& context, SyncId id) {
  bool again = !waiters_.empty();
  if (context.injected(FaultInjection::kForgetRequeue)) again = false;
  const std::uint32_t ticket = ticket_;
  if (again) ticket_ = context.next_ticket();
  context.send(next_, {.object = id.value,
                       .ticket = next_ticket_,
                       .verb = SyncVerb::kMutexToken,
                       .mode = suspect_ ? wire::kSyncOwnerDied : std::uint8_t{0}});
  context.send_home(id, {.ticket = ticket,
                         .other = next_ticket_,
                         .count = again ? ticket_ : 0,
                         .node = next_.value,
                         .verb = SyncVerb::kMutexPassed});
  token_ = suspect_ = false;
  requested_ = !waiters_.empty();
  next_ = kNoNode;
  local_turns_ = 0;
}

bool Mutex::token_arrived(Context& context, SyncId id, const SyncMessage& m) {
  // A token may have been on its way when recovery forgot the request for it.
  if (token_ || (!requested_ && !context.stale)) return false;
  token_ = true;
  requested_ = false;
  suspect_ = (m.mode & wire::kSyncOwnerDied) != 0;
  hand_over(context, id);
  return true;
}

bool Mutex::successor(Context& context, SyncId id, const SyncMessage& m) {
  // Passed on to a trying node in the meantime: the home tells that one.
  const bool current = m.ticket == ticket_ || context.injected(FaultInjection::kIgnoreTickets);
  if (!current || (!token_ && !requested_)) return true;
  if (next_ != kNoNode || m.node == context.self().value) return false;
  next_ = NodeId{m.node};
  next_ticket_ = m.other;
  if (token_ && !held_) hand_over(context, id);
  return true;
}

void Mutex::try_forwarded(Context& context, SyncId id, const SyncMessage& m) {
  const NodeId trying{m.node};
  if (token_ && !held_ && m.ticket == ticket_) {
    next_ = trying;
    next_ticket_ = m.other;
    pass(context, id);
  } else {
    context.send(trying, {.object = id.value, .ticket = m.other, .verb = SyncVerb::kMutexDenied});
  }
}

void Mutex::denied(Context& context, SyncId id, const SyncMessage& m) {
  if (!requested_ || token_ || m.ticket != ticket_) return;
  requested_ = false;
  // Empty, or not a try: the trying thread gave up, and perhaps others came.
  if (!waiters_.empty() && context.cells.front(waiters_).mode == static_cast<std::uint8_t>(Wait::kTry)) {
    context.wake(context.cells.pop(waiters_).waiter, Outcome::kWouldBlock);
  }
  request(context, id);
}

bool Mutex::acquire(Context& context, SyncId id, NodeId from, std::uint32_t ticket, bool only_try) {
  CellPool& cells = context.cells;
  const auto give_up = [&] {
    context.send(from, {.object = id.value, .ticket = ticket, .verb = SyncVerb::kMutexDenied});
  };
  if (cells.find(chain_, [from](const Cell& c) { return c.node == from; })) return false;
  if (chain_.empty()) {
    const bool suspect = std::exchange(orphan_, false) && !context.injected(FaultInjection::kForgetOrphan);
    cells.push(chain_, {.ticket = ticket, .node = from});
    context.send(from, {.object = id.value,
                        .ticket = ticket,
                        .verb = SyncVerb::kMutexToken,
                        .mode = suspect ? wire::kSyncOwnerDied : std::uint8_t{0}});
  } else if (only_try) {
    if (!cells.single(chain_)) return give_up(), true;
    const Cell owner = cells.front(chain_);
    context.send(owner.node, {.object = id.value,
                              .ticket = owner.ticket,
                              .other = ticket,
                              .node = from.value,
                              .verb = SyncVerb::kMutexTryForward});
  } else {
    const Cell last = cells.back(chain_);
    cells.push(chain_, {.ticket = ticket, .node = from});
    context.send(last.node, {.object = id.value,
                             .ticket = last.ticket,
                             .other = ticket,
                             .node = from.value,
                             .verb = SyncVerb::kMutexSuccessor});
  }
  return true;
}

bool Mutex::passed(Context& context, SyncId id, NodeId from, const SyncMessage& m) {
  CellPool& cells = context.cells;
  const auto is_sender = [&](const Cell& c) { return c.node == from && c.ticket == m.ticket; };
  // Not in the chain: a later holder's Passed came first and said that this one must have passed it on, too.
  if (cells.find(chain_, is_sender)) {
    while (!is_sender(cells.pop(chain_))) {
    }
    const bool as_told =
        !chain_.empty() && cells.front(chain_).node.value == m.node && cells.front(chain_).ticket == m.other;
    if (!as_told) {
      // It went to a trying node, which now comes before the one that was to be next.
      cells.push_front(chain_, {.ticket = m.other, .node = NodeId{m.node}});
      if (!cells.single(chain_)) {
        Cell waiting;
        std::uint32_t place = 0;
        cells.each(chain_, [&](const Cell& c) {
          if (place++ == 1) waiting = c;
        });
        context.send(NodeId{m.node}, {.object = id.value,
                                      .ticket = m.other,
                                      .other = waiting.ticket,
                                      .node = waiting.node.value,
                                      .verb = SyncVerb::kMutexSuccessor});
      }
    }
  }
  return m.count == 0 || acquire(context, id, from, m.count, false);
}

bool Mutex::registered(Context& context, NodeId from, const SyncMessage& m) {
  if (is_of_home(m.mode)) {
    if (context.moving) home_knew_.hear(m);
    return true;
  }
  if (!chain_.empty()) return false;
  orphan_ = false;
  context.cells.push(chain_, {.ticket = m.ticket, .node = from});
  return true;
}

bool Mutex::receive(Context& context, SyncId id, NodeId from, const SyncMessage& m) {
  switch (m.verb) {
    case SyncVerb::kMutexAcquire:
      return acquire(context, id, from, m.ticket, (m.mode & wire::kSyncTry) != 0);
    case SyncVerb::kMutexPassed:
      return passed(context, id, from, m);
    case SyncVerb::kMutexRegister:
      return registered(context, from, m);
    case SyncVerb::kMutexToken:
      return token_arrived(context, id, m);
    case SyncVerb::kMutexSuccessor:
      return successor(context, id, m);
    case SyncVerb::kMutexTryForward:
      return try_forwarded(context, id, m), true;
    case SyncVerb::kMutexDenied:
      return denied(context, id, m), true;
    default:
      return false;
  }
}

// A request that was sent stays: the token may come and is then kept or passed on, as if it had been used.
bool Mutex::cancel(Context& context, SyncId, WaiterId waiter) {
  return context.cells.remove_if(waiters_, [waiter](const Cell& c) {
    return c.waiter == waiter.value && c.mode <= static_cast<std::uint8_t>(Wait::kTry);
  }) != 0;
}

void Mutex::end_waits(Context& context, Outcome outcome) {
  requested_ = false;
  while (!waiters_.empty()) context.wake(context.cells.pop(waiters_).waiter, outcome);
}

void Mutex::view_changed(Context& context, SyncId, const Death& death) {
  next_ = kNoNode;
  local_turns_ = 0;
  requested_ = false;
  if (death.inherited || !chain_.empty()) orphan_ = true;
  context.cells.clear(chain_);
  home_knew_.view_changed(death);
}

void Mutex::homes_move(Context& context, SyncId, bool was_home) {
  next_ = kNoNode;
  local_turns_ = 0;
  requested_ = false;
  // Or has heard of it or inherited it in the middle of a move, without having become the home.
  if (was_home || !chain_.empty() || (orphan_ && !home_knew_.is_known())) {
    const HomeKnew what = !chain_.empty() ? HomeKnew::kOut : orphan_ ? HomeKnew::kSuspect : HomeKnew::kClean;
    home_knew_ = {what, context.moves_before};
  }
  orphan_ = false;
  context.cells.clear(chain_);
}

void Mutex::homes_moved(Context& context, SyncId id) {
  if (!home_knew_.is_known()) {
    orphan_ = orphan_ || (chain_.empty() && context.inherits(id));
  } else if (context.is_home(id)) {
    orphan_ = chain_.empty() && home_knew_.what == HomeKnew::kSuspect;
  }
  home_knew_.what = HomeKnew::kNothing;
}

void Mutex::enroll(Context& context, SyncId id) {
  if (home_knew_.is_known() && !context.is_home(id))
    context.send_home(id,
                      {.node = home_knew_.after, .verb = SyncVerb::kMutexRegister, .mode = mode_of(home_knew_.what)});
  if (token_) context.send_home(id, {.ticket = ticket_, .verb = SyncVerb::kMutexRegister});
  request(context, id);
}

bool Mutex::drop(Context& context, SyncId id) {
  if (held_ || requested_ || suspect_ || orphan_ || !waiters_.empty() || next_ != kNoNode) return false;
  if (!context.is_home(id)) return !token_;
  if (!context.may_forget(id)) return false;
  if (token_ ? !context.cells.single(chain_) : !chain_.empty()) return false;
  context.cells.clear(chain_);
  return true;
}

void Mutex::check(const Context& context, SyncId id) const {
  const bool home = context.is_home(id);
  CHECK(!held_ || token_, id, "held without the token");
  CHECK(!(token_ && requested_), id, "asked for the token that is here");
  CHECK(token_ || waiters_.empty() || requested_ || context.frozen(), id, "waiters that nobody will wake");
  CHECK(!token_ || held_ || (waiters_.empty() && next_ == kNoNode), id, "free token that is wanted");
  CHECK(home || (chain_.empty() && !orphan_), id, "home state elsewhere");
  CHECK(next_ == kNoNode || !context.frozen(), id, "successor during recovery");
}

void Mutex::digest(const Context& context, StateDigest& digest) const {
  digest.add(ticket_, next_ticket_, next_.value, local_turns_, token_, held_, requested_, suspect_, orphan_,
             home_knew_.what, home_knew_.after);
  digest.add_queue(context.cells, waiters_);
  digest.add_queue(context.cells, chain_);
}

}  // namespace gallocy::sync
