#include "sync/barrier.h"

#include <algorithm>
#include <utility>

#include "sync/context.h"

namespace gallocy::sync {

using wire::SyncMessage;
using wire::SyncVerb;

Outcome Barrier::arrive(Context& context, SyncId id, std::uint32_t expected, WaiterId waiter) {
  if (broken_ || context.lossy()) return Outcome::kPeerLost;
  if (expected == 0 || (expected_ != 0 && expected_ != expected)) return Outcome::kMismatch;
  expected_ = expected;
  context.cells.push(waiting_, {.waiter = waiter.value});
  ++arrived_;
  ++held_;
  if (!guess_ || arrived_ >= batch_ || context.is_home(id)) {
    send_arrivals(context, id);
  } else if (held_ == 1) {
    held_since_ = context.ticks;
    if (!std::exchange(listed_, true)) context.holding_arrivals.push_back(id);
  }
  return Outcome::kPending;
}

void Barrier::send_arrivals(Context& context, SyncId id) {
  if (context.frozen()) return;                             // enroll() does
  for (; held_ > 0; held_ -= std::min(held_, expected_)) {  // more than a phase takes, if some gave up and came again
    context.send_home(id, {.other = expected_, .count = std::min(held_, expected_), .verb = SyncVerb::kBarrierArrive});
  }
}

bool Barrier::still_holding(Context& context, SyncId id) {
  // One tick may have come right after the arrival; two are a whole period.
  if (held_ > 0 && context.ticks - held_since_ < 2) return true;
  listed_ = false;
  if (held_ > 0) {
    guess_ = false;
    send_arrivals(context, id);
  }
  return false;
}

bool Barrier::released(Context& context, std::uint32_t count) {
  // A broken barrier has forgotten its arrivals. Those that are sent again may be free already.
  if (count > (context.stale ? arrived_ : arrived_ - held_)) return broken_;
  batch_ = count;
  arrived_ -= count;
  held_ = std::min(held_, arrived_);
  for (; count > 0; --count) context.wake(context.cells.pop(waiting_).waiter, Outcome::kGranted);
  return true;
}

bool Barrier::home_arrive(Context& context, SyncId id, NodeId from, const SyncMessage& m) {
  if (m.count == 0 || m.count > m.other) return false;
  if (broken_) {
    context.send(from, {.object = id.value, .verb = SyncVerb::kBarrierBroken});
    return true;
  }
  if (expected_ == 0) expected_ = m.other;
  if (expected_ != m.other) {
    context.send(from, {.object = id.value, .verb = SyncVerb::kMismatch});
    return true;
  }
  if (Cell* sent_before = context.cells.find(arrivals_, [from](const Cell& c) { return c.node == from; })) {
    sent_before->count += m.count;
  } else {
    context.cells.push(arrivals_, {.count = m.count, .node = from});
  }
  total_ += m.count;
  while (total_ >= expected_) release_phase(context, id);
  return true;
}

void Barrier::release_phase(Context& context, SyncId id) {
  std::uint32_t left = expected_;
  total_ -= expected_;
  while (left > 0) {
    Cell& first = context.cells.front(arrivals_);
    const NodeId node = first.node;
    const std::uint32_t count = std::min(left, first.count);
    left -= count;
    first.count -= count;
    if (first.count == 0) context.cells.pop(arrivals_);
    context.send(node, {.object = id.value, .count = count, .verb = SyncVerb::kBarrierRelease});
  }
}

bool Barrier::receive(Context& context, SyncId id, NodeId from, const SyncMessage& m) {
  switch (m.verb) {
    case SyncVerb::kBarrierArrive:
      return home_arrive(context, id, from, m);
    case SyncVerb::kBarrierRegister:
      broken_ = true;
      return true;
    case SyncVerb::kBarrierRelease:
      return released(context, m.count);
    case SyncVerb::kBarrierBroken:
      broken_ = true;
      end_waits(context, Outcome::kPeerLost);
      return true;
    default:
      return false;
  }
}

bool Barrier::cancel(Context& context, SyncId, WaiterId waiter) {
  Cell* cell = context.cells.find(waiting_, [waiter](const Cell& c) { return c.waiter == waiter.value; });
  if (cell == nullptr) return false;
  cell->waiter = 0;
  return true;
}

void Barrier::end_waits(Context& context, Outcome outcome) {
  arrived_ = held_ = 0;
  while (!waiting_.empty()) context.wake(context.cells.pop(waiting_).waiter, outcome);
}

void Barrier::view_changed(Context& context, SyncId, const Death&) {
  broken_ = true;
  total_ = 0;
  context.cells.clear(arrivals_);
  end_waits(context, Outcome::kPeerLost);
}

void Barrier::enroll(Context& context, SyncId id) {
  if (broken_) context.send_home(id, {.verb = SyncVerb::kBarrierRegister});
  send_arrivals(context, id);
}

// All who have arrived and are not free yet say so again.
void Barrier::homes_move(Context& context, SyncId, bool) {
  total_ = 0;
  context.cells.clear(arrivals_);
  held_ = arrived_;
}

bool Barrier::drop(Context&, SyncId) { return !broken_ && arrived_ == 0 && total_ == 0; }

void Barrier::check(const Context& context, SyncId id) const {
  CHECK(held_ <= arrived_, id, held_, arrived_);
  CHECK(arrived_ == context.cells.size(waiting_), id, arrived_);
  CHECK(expected_ == 0 || total_ < expected_, id, total_, expected_, "a full phase that was not released");
}

void Barrier::digest(const Context& context, StateDigest& digest) const {
  digest.add(arrived_, held_, batch_, guess_, broken_, expected_, total_);
  digest.add_queue(context.cells, waiting_);
  digest.add_queue(context.cells, arrivals_);
}

}  // namespace gallocy::sync
