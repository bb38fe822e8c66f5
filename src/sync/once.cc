#include "sync/once.h"

#include <utility>

#include "sync/context.h"

namespace gallocy::sync {

using wire::SyncMessage;
using wire::SyncVerb;

Outcome Once::call(Context& context, SyncId id, WaiterId waiter) {
  if (done_) return Outcome::kGranted;
  const std::uint32_t ticket = context.next_ticket();
  context.cells.push(waits_, {.waiter = waiter.value, .ticket = ticket});
  if (!again_) ask(context, id, ticket);  // else enroll() does
  return Outcome::kPending;
}

void Once::ask(Context& context, SyncId id, std::uint32_t ticket) {
  context.send_home(id, {.ticket = ticket, .verb = SyncVerb::kOnceCall});
}

bool Once::end(Context& context, SyncId id, bool success) {
  const std::uint32_t ticket = std::exchange(running_, 0);
  if (ticket == 0) return false;
  context.send_home(
      id, {.ticket = ticket, .verb = SyncVerb::kOnceEnd, .mode = success ? wire::kSyncDone : std::uint8_t{0}});
  if (success) finished(context);
  return true;
}

bool Once::told_to_run(Context& context, SyncId id, std::uint32_t ticket) {
  std::uint64_t waiter = 0;
  const auto match = [&](const Cell& c) { return c.ticket == ticket ? (waiter = c.waiter, true) : false; };
  if (running_ != 0 || done_) return false;
  if (context.cells.remove_if(waits_, match) == 0) {
    context.send_home(id, {.ticket = ticket, .verb = SyncVerb::kOnceEnd});  // gave up in the meantime
    return true;
  }
  running_ = ticket;
  context.wake(waiter, Outcome::kRun);
  return true;
}

void Once::finished(Context& context) {
  done_ = true;
  end_waits(context, Outcome::kGranted);
}

void Once::home_call(Context& context, SyncId id, NodeId from, std::uint32_t ticket) {
  if (done_) {
    context.send(from, {.object = id.value, .verb = SyncVerb::kOnceDone});
    return;
  }
  const auto is_sender = [&](const Cell& c) { return c.node == from && c.ticket == ticket; };
  if ((runner_ == from && runner_ticket_ == ticket) || context.cells.find(queue_, is_sender)) return;  // asked again
  context.cells.push(queue_, {.ticket = ticket, .node = from});
  if (runner_ == kNoNode) run_next(context, id);
}

void Once::run_next(Context& context, SyncId id) {
  runner_ = kNoNode;
  if (queue_.empty()) return;
  const Cell first = context.cells.pop(queue_);
  runner_ = first.node;
  runner_ticket_ = first.ticket;
  context.send(runner_, {.object = id.value, .ticket = runner_ticket_, .verb = SyncVerb::kOnceRun});
}

bool Once::home_end(Context& context, SyncId id, NodeId from, const SyncMessage& m) {
  if (runner_ != from || runner_ticket_ != m.ticket) return true;  // the home that was had told it to run
  (m.mode & wire::kSyncDone) != 0 ? home_done(context, id) : run_next(context, id);
  return true;
}

void Once::home_done(Context& context, SyncId id) {
  runner_ = kNoNode;
  finished(context);
  while (!queue_.empty()) {
    const NodeId node = context.cells.pop(queue_).node;
    context.cells.remove_if(queue_, [node](const Cell& c) { return c.node == node; });
    context.send(node, {.object = id.value, .verb = SyncVerb::kOnceDone});
  }
}

bool Once::receive(Context& context, SyncId id, NodeId from, const SyncMessage& m) {
  switch (m.verb) {
    case SyncVerb::kOnceCall:
      return home_call(context, id, from, m.ticket), true;
    case SyncVerb::kOnceEnd:
      return home_end(context, id, from, m);
    case SyncVerb::kOnceRegister:
      if ((m.mode & wire::kSyncDone) != 0) return home_done(context, id), true;
      if (runner_ != kNoNode && (runner_ != from || runner_ticket_ != m.ticket)) return false;
      runner_ = from;
      runner_ticket_ = m.ticket;
      return true;
    case SyncVerb::kOnceRun:
      return told_to_run(context, id, m.ticket);
    case SyncVerb::kOnceDone:
      return finished(context), true;
    default:
      return false;
  }
}

// Its place in the home's queue stays; should it be told to run, the node declines.
bool Once::cancel(Context& context, SyncId, WaiterId waiter) {
  return context.cells.remove_if(waits_, [waiter](const Cell& c) { return c.waiter == waiter.value; }) != 0;
}

void Once::end_waits(Context& context, Outcome outcome) {
  while (!waits_.empty()) context.wake(context.cells.pop(waits_).waiter, outcome);
}

void Once::view_changed(Context& context, SyncId id, const Death& death) {
  if (context.moving) return homes_move(context, id, false);
  context.cells.remove_if(queue_, [&death](const Cell& c) { return c.node == death.node; });
  if (runner_ == death.node) run_next(context, id);
  if (death.of_home) again_ = true;
}

void Once::homes_move(Context& context, SyncId, bool) {
  context.cells.clear(queue_);
  runner_ = kNoNode;
  again_ = true;
}

void Once::enroll(Context& context, SyncId id) {
  if (!std::exchange(again_, false)) return;
  if (done_ || running_ != 0) {
    context.send_home(
        id, {.ticket = running_, .verb = SyncVerb::kOnceRegister, .mode = done_ ? wire::kSyncDone : std::uint8_t{0}});
  }
  context.cells.each(waits_, [&](const Cell& c) { ask(context, id, c.ticket); });
}

bool Once::drop(Context& context, SyncId id) {
  const bool home = context.is_home(id);
  return !done_ && running_ == 0 && !again_ && waits_.empty() && (!home || (queue_.empty() && runner_ == kNoNode));
}

void Once::check(const Context& context, SyncId id) const {
  const bool home = context.is_home(id);
  CHECK(home || (queue_.empty() && runner_ == kNoNode), id, "home state elsewhere");
  CHECK(!home || queue_.empty() || runner_ != kNoNode, id, "waiters, and nobody runs");
  CHECK(!done_ || (running_ == 0 && waits_.empty()), id, "done, and still running or waited for");
}

void Once::digest(const Context& context, StateDigest& digest) const {
  digest.add(running_, done_, again_, runner_.value, runner_ticket_);
  digest.add_queue(context.cells, waits_);
  digest.add_queue(context.cells, queue_);
}

}  // namespace gallocy::sync
