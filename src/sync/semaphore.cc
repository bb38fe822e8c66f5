#include "sync/semaphore.h"

#include "sync/context.h"

namespace gallocy::sync {

using wire::SyncMessage;
using wire::SyncVerb;

Outcome Semaphore::acquire(Context& context, SyncId id, std::uint32_t initial, WaiterId waiter, Wait wait) {
  if (lost_) return Outcome::kPeerLost;
  if (wait == Wait::kWait && context.lossy()) wait = Wait::kUnlessLossy;
  const std::uint32_t ticket = context.next_ticket();
  context.cells.push(waits_, {.waiter = waiter.value, .ticket = ticket, .mode = static_cast<std::uint8_t>(wait)});
  context.send_home(id, {.ticket = ticket,
                         .count = initial,
                         .verb = SyncVerb::kSemaphoreAcquire,
                         .mode = wait == Wait::kWait ? std::uint8_t{0} : wire::kSyncTry});
  return Outcome::kPending;
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

void Semaphore::begin(std::uint32_t initial) {
  if (begun_) return;
  begun_ = true;
  count_ = initial_ = initial;
}

bool Semaphore::home_acquire(Context& context, SyncId id, NodeId from, const SyncMessage& m) {
  if (!lost_) begin(m.count);
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
      begin(m.other);
      return home_release(context, id, m.count), true;
    case SyncVerb::kSemaphoreCancel:
      return context.cells.remove_if(queue_, is_named), true;
    case SyncVerb::kSemaphoreRegister:
      return lost_ = true;
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
  context.send_home(id, {.ticket = ticket, .verb = SyncVerb::kSemaphoreCancel});
  return true;
}

void Semaphore::end_waits(Context& context, Outcome outcome) {
  while (!waits_.empty()) context.wake(context.cells.pop(waits_).waiter, outcome);
}

void Semaphore::view_changed(Context& context, SyncId id, const Death& death) {
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
  if (lost_) context.send_home(id, {.verb = SyncVerb::kSemaphoreRegister});
}

// Only the home may forget: the others are the witnesses that the count was lost with it.
bool Semaphore::drop(Context& context, SyncId id) {
  if (context.home(id) != context.self() || lost_) return false;
  return waits_.empty() && queue_.empty() && (!begun_ || count_ == initial_);
}

void Semaphore::check(const Context& context, SyncId id) const {
  CHECK(queue_.empty() || (context.home(id) == context.self() && count_ == 0), id, "waiters beside permits");
}

void Semaphore::digest(const Context& context, StateDigest& digest) const {
  digest.add(count_, begun_, lost_);
  digest.add_queue(context.cells, waits_);
  digest.add_queue(context.cells, queue_);
}

}  // namespace gallocy::sync
