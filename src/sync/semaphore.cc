#include "sync/semaphore.h"

#include <utility>

#include "sync/context.h"

namespace gallocy::sync {

using wire::SyncMessage;
using wire::SyncVerb;

Outcome Semaphore::acquire(Context& context, SyncId id, std::uint32_t initial, WaiterId waiter, Wait wait) {
  if (lost_) return Outcome::kPeerLost;
  if (wait == Wait::kWait && context.lossy()) wait = Wait::kUnlessLossy;
  const std::uint32_t ticket = context.next_ticket();
  const Cell cell{.waiter = waiter.value, .ticket = ticket, .count = initial, .mode = static_cast<std::uint8_t>(wait)};
  context.cells.push(waits_, cell);
  if (!again_) ask(context, id, cell);
  return Outcome::kPending;
}

void Semaphore::ask(Context& context, SyncId id, const Cell& wait) {
  const bool waits = wait.mode == static_cast<std::uint8_t>(Wait::kWait);
  context.send_home(id, {.ticket = wait.ticket,
                         .count = wait.count,
                         .verb = SyncVerb::kSemaphoreAcquire,
                         .mode = waits ? std::uint8_t{0} : wire::kSyncTry});
}

void Semaphore::release(Context& context, SyncId id, std::uint32_t initial, std::uint32_t permits) {
  if (lost_ || permits == 0) return;
  context.send_home(id, {.other = initial, .count = permits, .verb = SyncVerb::kSemaphoreRelease});
}

bool Semaphore::granted(Context& context, SyncId id, std::uint32_t ticket) {
  std::uint64_t waiter = 0;
  const auto match = [&](const Cell& c) { return c.ticket == ticket ? (waiter = c.waiter, true) : false; };
  if (context.cells.remove_if(waits_, match) != 0) {
    context.wake(waiter, Outcome::kGranted);
  } else if (!context.injected(FaultInjection::kKeepCrossedPermit)) {
    release(context, id, 0, 1);  // crossed with a cancel; the home knows the initial value
  }
  return true;
}

bool Semaphore::denied(Context& context, const SyncMessage& m) {
  Cell cell;
  const auto match = [&](const Cell& c) { return c.ticket == m.ticket ? (cell = c, true) : false; };
  if (context.cells.remove_if(waits_, match) == 0) return true;
  if ((m.mode & wire::kSyncLost) != 0) lost_ = true;
  const bool only_try = cell.mode == static_cast<std::uint8_t>(Wait::kTry);
  context.wake(cell.waiter, only_try && !lost_ ? Outcome::kWouldBlock : Outcome::kPeerLost);
  return true;
}

void Semaphore::begin(const Context& context, std::uint32_t initial) {
  if (begun_) return;
  begun_ = true;
  begun_after_ = context.view.moves();
  count_ = initial_ = initial;
}

bool Semaphore::home_acquire(Context& context, SyncId id, NodeId from, const SyncMessage& m) {
  if (!lost_) begin(context, m.count);
  if (!lost_ && count_ > 0) {
    --count_;
    context.send(from, {.object = id.value, .ticket = m.ticket, .verb = SyncVerb::kSemaphoreGrant});
  } else if (lost_ || (m.mode & wire::kSyncTry) != 0) {
    context.send(from, {.object = id.value,
                        .ticket = m.ticket,
                        .verb = SyncVerb::kSemaphoreDenied,
                        .mode = lost_ ? wire::kSyncLost : std::uint8_t{0}});
  } else {
    context.cells.push(queue_, {.ticket = m.ticket, .node = from});
  }
  return true;
}

void Semaphore::home_release(Context& context, SyncId id, std::uint32_t permits) {
  if (lost_) return;
  count_ += permits;
  for (; count_ > 0 && !queue_.empty(); --count_) {
    const Cell first = context.cells.pop(queue_);
    context.send(first.node, {.object = id.value, .ticket = first.ticket, .verb = SyncVerb::kSemaphoreGrant});
  }
}

bool Semaphore::receive(Context& context, SyncId id, NodeId from, const SyncMessage& m) {
  const auto is_named = [&](const Cell& c) { return c.node == from && c.ticket == m.ticket; };
  switch (m.verb) {
    case SyncVerb::kSemaphoreAcquire:
      if (context.cells.find(queue_, is_named)) return false;
      return home_acquire(context, id, from, m);
    case SyncVerb::kSemaphoreRelease:
      begin(context, m.other);
      return home_release(context, id, m.count), true;
    case SyncVerb::kSemaphoreCancel:
      return context.cells.remove_if(queue_, is_named), true;
    case SyncVerb::kSemaphoreRegister:
      return registered(context, m);
    case SyncVerb::kSemaphoreGrant:
      return granted(context, id, m.ticket);
    case SyncVerb::kSemaphoreDenied:
      return denied(context, m);
    default:
      return false;
  }
}

bool Semaphore::cancel(Context& context, SyncId id, WaiterId waiter) {
  std::uint32_t ticket = 0;
  const auto match = [&](const Cell& c) { return c.waiter == waiter.value ? (ticket = c.ticket, true) : false; };
  if (context.cells.remove_if(waits_, match) == 0) return false;
  if (!again_) context.send_home(id, {.ticket = ticket, .verb = SyncVerb::kSemaphoreCancel});
  return true;
}

void Semaphore::end_waits(Context& context, Outcome outcome) {
  while (!waits_.empty()) context.wake(context.cells.pop(waits_).waiter, outcome);
}

bool Semaphore::registered(const Context& context, const SyncMessage& m) {
  if ((m.mode & wire::kSyncLost) != 0) return lost_ = true;
  if (!context.moving || (begun_ && m.node < begun_after_)) return true;
  begun_ = true;
  begun_after_ = m.node;
  initial_ = m.other;
  count_ = std::uint64_t{m.ticket} << 32 | m.count;
  return true;
}

void Semaphore::homes_move(Context& context, SyncId, bool) {
  context.cells.clear(queue_);
  again_ = true;
}

void Semaphore::homes_moved(Context& context, SyncId id) {
  if (!context.is_home(id)) begun_ = false;
  begun_after_ = context.view.moves();
}

void Semaphore::view_changed(Context& context, SyncId id, const Death& death) {
  if (context.moving) again_ = true;
  context.cells.remove_if(queue_, [&death](const Cell& c) { return c.node == death.node; });
  if (death.of_home) {
    lost_ = true;
    end_waits(context, Outcome::kPeerLost);
    return;
  }
  // Answers to those that only try are on their way.
  const auto waits = [](const Cell& c) { return c.mode == static_cast<std::uint8_t>(Wait::kWait); };
  while (const Cell* cell = context.cells.find(waits_, waits)) {
    const WaiterId waiter{cell->waiter};
    cancel(context, id, waiter);
    context.wake(waiter.value, Outcome::kPeerLost);
  }
}

void Semaphore::enroll(Context& context, SyncId id) {
  if (lost_) {
    context.send_home(id, {.verb = SyncVerb::kSemaphoreRegister, .mode = wire::kSyncLost});
  } else if (begun_ && !context.is_home(id) && !context.injected(FaultInjection::kForgetCounts)) {
    context.send_home(id, {.ticket = static_cast<std::uint32_t>(count_ >> 32),
                           .other = initial_,
                           .count = static_cast<std::uint32_t>(count_),
                           .node = begun_after_,
                           .verb = SyncVerb::kSemaphoreRegister});
  }
  if (std::exchange(again_, false)) context.cells.each(waits_, [&](const Cell& c) { ask(context, id, c); });
}

// Only the home may forget: the others are the witnesses that the count was lost with it.
bool Semaphore::drop(Context& context, SyncId id) {
  if (!context.may_forget(id) || lost_) return false;
  return waits_.empty() && queue_.empty() && (!begun_ || count_ == initial_);
}

void Semaphore::check(const Context& context, SyncId id) const {
  CHECK(queue_.empty() || (context.is_home(id) && count_ == 0), id, "waiters beside permits");
}

void Semaphore::digest(const Context& context, StateDigest& digest) const {
  digest.add(count_, begun_, begun_after_, lost_, again_);
  digest.add_queue(context.cells, waits_);
  digest.add_queue(context.cells, queue_);
}

}  // namespace gallocy::sync
