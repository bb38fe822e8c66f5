#include "sync/latch.h"

#include <utility>

#include "sync/context.h"

namespace gallocy::sync {

using wire::SyncMessage;
using wire::SyncVerb;

void Latch::count_down(Context& context, SyncId id, std::uint32_t expected, std::uint32_t update) {
  if (open_ || lost_ || update == 0) return;
  context.send_home(id, {.other = expected, .count = update, .verb = SyncVerb::kLatchCountDown});
}

Outcome Latch::wait(Context& context, SyncId id, std::uint32_t expected, WaiterId waiter, Wait wait) {
  if (open_) return Outcome::kGranted;
  if (lost_) return Outcome::kPeerLost;
  if (wait == Wait::kWait && context.lossy()) wait = Wait::kUnlessLossy;
  const std::uint32_t ticket = context.next_ticket();
  const Cell cell{.waiter = waiter.value, .ticket = ticket, .count = expected, .mode = static_cast<std::uint8_t>(wait)};
  context.cells.push(waits_, cell);
  if (!again_) ask(context, id, cell);
  return Outcome::kPending;
}

void Latch::ask(Context& context, SyncId id, const Cell& wait) {
  if (wait.mode != static_cast<std::uint8_t>(Wait::kWait)) {
    context.send_home(id, {.ticket = wait.ticket, .other = wait.count, .verb = SyncVerb::kLatchQuery});
  } else if (!std::exchange(subscribed_, true)) {
    context.send_home(id, {.other = wait.count, .verb = SyncVerb::kLatchSubscribe});
  }
}

void Latch::opened(Context& context) {
  open_ = true;
  end_waits(context, Outcome::kGranted);
}

bool Latch::answered(Context& context, const SyncMessage& m) {
  if ((m.mode & wire::kSyncDone) != 0) return opened(context), true;
  if ((m.mode & wire::kSyncLost) != 0) {
    subscribed_ = false;
    return end_waits(context, Outcome::kPeerLost), true;
  }
  Cell cell;
  const auto match = [&](const Cell& c) { return c.ticket == m.ticket ? (cell = c, true) : false; };
  if (context.cells.remove_if(waits_, match) == 0) return true;
  const bool only_try = cell.mode == static_cast<std::uint8_t>(Wait::kTry);
  context.wake(cell.waiter, only_try ? Outcome::kWouldBlock : Outcome::kPeerLost);
  return true;
}

bool Latch::begin(const Context& context, std::uint32_t expected) {
  if (!begun_) {
    begun_ = true;
    begun_after_ = context.view.moves();
    remaining_ = expected;
    open_ = open_ || (expected == 0 && !lost_);
  }
  return !lost_;
}

void Latch::home_count_down(Context& context, SyncId id, std::uint32_t update) {
  if (open_) return;
  remaining_ -= update < remaining_ ? update : remaining_;
  if (remaining_ == 0) open_home(context, id);
}

void Latch::open_home(Context& context, SyncId id) {
  opened(context);
  while (!subscribers_.empty()) {
    context.send(context.cells.pop(subscribers_).node, {.object = id.value, .verb = SyncVerb::kLatchOpen});
  }
}

bool Latch::receive(Context& context, SyncId id, NodeId from, const SyncMessage& m) {
  switch (m.verb) {
    case SyncVerb::kLatchCountDown:
      if (begin(context, m.other)) home_count_down(context, id, m.count);
      return true;
    case SyncVerb::kLatchSubscribe:
      if (!begin(context, m.other) || open_) {
        const std::uint8_t answer = open_ ? wire::kSyncDone : wire::kSyncLost;
        context.send(from, {.object = id.value, .verb = SyncVerb::kLatchAnswer, .mode = answer});
      } else if (!context.cells.find(subscribers_, [from](const Cell& c) { return c.node == from; })) {
        context.cells.push(subscribers_, {.node = from});  // in the middle of a recovery a node may subscribe again
      }
      return true;
    case SyncVerb::kLatchQuery: {
      const bool valid = begin(context, m.other);
      const std::uint8_t answer = open_ ? wire::kSyncDone : valid ? std::uint8_t{0} : wire::kSyncLost;
      context.send(from, {.object = id.value, .ticket = m.ticket, .verb = SyncVerb::kLatchAnswer, .mode = answer});
      return true;
    }
    case SyncVerb::kLatchRegister:
      if ((m.mode & wire::kSyncDone) != 0) {
        lost_ = false;
        open_home(context, id);
      } else if ((m.mode & wire::kSyncLost) != 0) {
        lost_ = !open_;
      } else if (context.moving && (!begun_ || m.node >= begun_after_)) {
        begun_ = true;
        begun_after_ = m.node;
        remaining_ = m.count;
      }
      return true;
    case SyncVerb::kLatchAnswer:
      return answered(context, m);
    case SyncVerb::kLatchOpen:
      return opened(context), true;
    default:
      return false;
  }
}

bool Latch::cancel(Context& context, SyncId, WaiterId waiter) {
  return context.cells.remove_if(waits_, [waiter](const Cell& c) { return c.waiter == waiter.value; }) != 0;
}

void Latch::end_waits(Context& context, Outcome outcome) {
  while (!waits_.empty()) context.wake(context.cells.pop(waits_).waiter, outcome);
}

void Latch::view_changed(Context& context, SyncId, const Death& death) {
  context.cells.remove_if(subscribers_, [&death](const Cell& c) { return c.node == death.node; });
  if (context.moving) again_ = true, subscribed_ = false;
  if (death.of_home && !open_) lost_ = true;
  if (lost_) return end_waits(context, Outcome::kPeerLost);
  // Answers to those that only ask are on their way.
  const auto waits = [](const Cell& c) { return c.mode == static_cast<std::uint8_t>(Wait::kWait); };
  while (const Cell* cell = context.cells.find(waits_, waits)) {
    const std::uint64_t waiter = cell->waiter;
    context.cells.remove_if(waits_, [waiter](const Cell& c) { return c.waiter == waiter; });
    context.wake(waiter, Outcome::kPeerLost);
  }
}

void Latch::homes_move(Context& context, SyncId, bool) {
  context.cells.clear(subscribers_);
  subscribed_ = false;
  again_ = true;
}

void Latch::homes_moved(Context& context, SyncId id) {
  if (!context.is_home(id)) begun_ = false;
  begun_after_ = context.view.moves();
}

void Latch::enroll(Context& context, SyncId id) {
  if (begun_ && !open_ && !lost_ && !context.is_home(id) && !context.injected(FaultInjection::kForgetCounts))
    context.send_home(id, {.count = remaining_, .node = begun_after_, .verb = SyncVerb::kLatchRegister});
  if (std::exchange(again_, false)) context.cells.each(waits_, [&](const Cell& c) { ask(context, id, c); });
  if (!open_ && !lost_) return;
  context.send_home(id, {.verb = SyncVerb::kLatchRegister, .mode = open_ ? wire::kSyncDone : wire::kSyncLost});
  if (context.is_home(id)) return;
  // From now on the new home answers: another node may have known the latch to be open.
  lost_ = subscribed_ = false;
}

void Latch::check(const Context& context, SyncId id) const {
  const bool home = context.is_home(id);
  CHECK(home || subscribers_.empty(), id, "home state elsewhere");
  CHECK(!open_ || waits_.empty(), id, "waiters at an open latch");
}

void Latch::digest(const Context& context, StateDigest& digest) const {
  digest.add(remaining_, begun_, begun_after_, open_, lost_, subscribed_, again_);
  digest.add_queue(context.cells, waits_);
  digest.add_queue(context.cells, subscribers_);
}

}  // namespace gallocy::sync
