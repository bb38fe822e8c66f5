#include "sync/condition.h"

#include "sync/context.h"

namespace gallocy::sync {

using wire::SyncMessage;
using wire::SyncVerb;

namespace {
// Of a cell in waits_: whether the home has confirmed the waiter, and so the mutex is released.
constexpr std::uint8_t kEnqueuing = 0, kWaiting = 1;
}  // namespace

Outcome Condition::wait(Context& context, SyncId id, SyncId mutex, WaiterId waiter) {
  Mutex* held = context.find<Mutex>(mutex);
  if (held == nullptr || !held->held()) return Outcome::kMismatch;
  const std::uint32_t ticket = context.next_ticket();
  const bool early = context.injected(FaultInjection::kReleaseTooEarly);
  context.cells.push(
      waits_, {.waiter = waiter.value, .object = mutex.value, .ticket = ticket, .mode = early ? kWaiting : kEnqueuing});
  context.send_home(id, {.ticket = ticket, .verb = SyncVerb::kConditionEnqueue});
  if (early) held->unlock(context, mutex);
  return Outcome::kPending;
}

void Condition::notify(Context& context, SyncId id, bool all) {
  context.send_home(id, {.verb = SyncVerb::kConditionNotify, .mode = all ? wire::kSyncAll : std::uint8_t{0}});
}

bool Condition::enqueued(Context& context, std::uint32_t ticket) {
  Cell* cell = context.cells.find(waits_, [ticket](const Cell& c) { return c.ticket == ticket; });
  if (cell == nullptr || cell->mode == kWaiting) return true;  // given up in the meantime
  cell->mode = kWaiting;
  const SyncId mutex{cell->object};
  if (Mutex* held = context.find<Mutex>(mutex)) held->unlock(context, mutex);
  return true;
}

void Condition::finish(Context& context, const Cell& waiter, Mutex::Wait how, Outcome if_held) {
  if (waiter.mode == kEnqueuing) {
    context.wake(waiter.waiter, if_held);
    return;
  }
  const SyncId mutex{waiter.object};
  Mutex* released = context.find<Mutex>(mutex);
  if (released == nullptr) {
    context.wake(waiter.waiter, Outcome::kMismatch);
  } else {
    released->lock(context, mutex, WaiterId{waiter.waiter}, how);
  }
}

void Condition::wake_one(Context& context, SyncId id, std::uint32_t ticket) {
  Cell woken;
  const auto match = [&](const Cell& c) { return c.ticket == ticket ? (woken = c, true) : false; };
  if (context.cells.remove_if(waits_, match) == 0) {
    notify(context, id, false);  // gave up in the meantime: the notification is for another one
  } else {
    finish(context, woken, Mutex::Wait::kAfterWait, Outcome::kGranted);
  }
}

// Those that are not confirmed yet came to the home's queue after the notification, or are still on their way.
void Condition::wake_all(Context& context) {
  Queue all = waits_;
  waits_ = {};
  while (!all.empty()) {
    const Cell cell = context.cells.pop(all);
    if (cell.mode == kEnqueuing) {
      context.cells.push(waits_, cell);
    } else {
      finish(context, cell, Mutex::Wait::kAfterWait, Outcome::kGranted);
    }
  }
}

void Condition::home_notify(Context& context, SyncId id, bool all) {
  if (!all) {
    if (queue_.empty()) return;
    const Cell first = context.cells.pop(queue_);
    context.send(first.node, {.object = id.value, .ticket = first.ticket, .verb = SyncVerb::kConditionWake});
    return;
  }
  while (!queue_.empty()) {
    const NodeId node = context.cells.pop(queue_).node;
    context.cells.remove_if(queue_, [node](const Cell& c) { return c.node == node; });
    context.send(node, {.object = id.value, .verb = SyncVerb::kConditionWakeAll});
  }
}

bool Condition::receive(Context& context, SyncId id, NodeId from, const SyncMessage& m) {
  const auto is_named = [&](const Cell& c) { return c.node == from && c.ticket == m.ticket; };
  switch (m.verb) {
    case SyncVerb::kConditionEnqueue:
      if (context.cells.find(queue_, is_named)) return false;
      context.cells.push(queue_, {.ticket = m.ticket, .node = from});
      context.send(from, {.object = id.value, .ticket = m.ticket, .verb = SyncVerb::kConditionEnqueued});
      return true;
    case SyncVerb::kConditionCancel:
      return context.cells.remove_if(queue_, is_named), true;
    case SyncVerb::kConditionNotify:
      return home_notify(context, id, (m.mode & wire::kSyncAll) != 0), true;
    case SyncVerb::kConditionEnqueued:
      return enqueued(context, m.ticket);
    case SyncVerb::kConditionWake:
      return wake_one(context, id, m.ticket), true;
    case SyncVerb::kConditionWakeAll:
      return wake_all(context), true;
    default:
      return false;
  }
}

bool Condition::cancel(Context& context, SyncId id, WaiterId waiter) {
  Cell given_up;
  const auto match = [&](const Cell& c) { return c.waiter == waiter.value ? (given_up = c, true) : false; };
  if (context.cells.remove_if(waits_, match) == 0) return false;
  context.send_home(id, {.ticket = given_up.ticket, .verb = SyncVerb::kConditionCancel});
  if (given_up.mode == kEnqueuing) return true;
  finish(context, given_up, Mutex::Wait::kAfterTimeout, Outcome::kTimeout);
  return false;
}

void Condition::end_waits(Context& context, Outcome outcome) {
  while (!waits_.empty()) context.wake(context.cells.pop(waits_).waiter, outcome);
}

void Condition::view_changed(Context& context, SyncId id, const Death& death) {
  context.cells.remove_if(queue_, [&death](const Cell& c) { return c.node == death.node; });
  while (!waits_.empty()) {
    const Cell cell = context.cells.pop(waits_);
    context.send_home(id, {.ticket = cell.ticket, .verb = SyncVerb::kConditionCancel});
    finish(context, cell, Mutex::Wait::kAfterLoss, Outcome::kPeerLost);
  }
}

// A wait may end for no reason; so nobody has to know which notifications were in flight.
void Condition::homes_move(Context& context, SyncId, bool) {
  context.cells.clear(queue_);
  while (!waits_.empty()) finish(context, context.cells.pop(waits_), Mutex::Wait::kAfterWait, Outcome::kGranted);
}

bool Condition::drop(Context&, SyncId) { return waits_.empty() && queue_.empty(); }

void Condition::check(const Context& context, SyncId id) const {
  CHECK(queue_.empty() || context.is_home(id), id, "home state elsewhere");
}

void Condition::digest(const Context& context, StateDigest& digest) const {
  digest.add_queue(context.cells, waits_);
  digest.add_queue(context.cells, queue_);
}

}  // namespace gallocy::sync
