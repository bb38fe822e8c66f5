#include "sync/rw_lock.h"

#include <utility>

#include "sync/context.h"

namespace gallocy::sync {

using wire::SyncMessage;
using wire::SyncVerb;

namespace {

// Of a holder's cell: what it has been asked.
constexpr std::uint8_t kNotRecalled = 0, kRecalled = 1, kTriedRecall = 2;

std::uint8_t wire_mode(LockMode mode) { return mode == LockMode::kExclusive ? wire::kSyncWrite : std::uint8_t{0}; }
LockMode lock_mode(std::uint8_t mode) { return (mode & wire::kSyncWrite) ? LockMode::kExclusive : LockMode::kShared; }

}  // namespace

bool RwLock::fits(LockMode mode) const {
  if (writing_) return false;
  return mode == LockMode::kShared ? right_ != Right::kNone : right_ == Right::kWrite && active_readers_ == 0;
}

void RwLock::begin(LockMode mode) {
  if (mode == LockMode::kShared) {
    ++active_readers_;
  } else {
    writing_ = true;
  }
}

bool RwLock::end(LockMode mode) {
  if (mode == LockMode::kExclusive) {
    suspect_ = suspect_ && !writing_;  // a writer that was told has had its chance to repair
    return std::exchange(writing_, false);
  }
  if (active_readers_ == 0) return false;
  --active_readers_;
  return true;
}

bool RwLock::take_if_here(LockMode mode) {
  if (!waiters_.empty() || recalled_ || suspect_ || !fits(mode)) return false;
  begin(mode);
  return true;
}

bool RwLock::drop_if_unwanted(LockMode mode) { return waiters_.empty() && !recalled_ && end(mode); }

Outcome RwLock::lock(Context& context, SyncId id, LockMode mode, WaiterId waiter) {
  context.cells.push(waiters_, {.waiter = waiter.value, .mode = wire_mode(mode)});
  pump(context, id);
  return Outcome::kPending;
}

Outcome RwLock::try_lock(Context& context, SyncId id, LockMode mode, WaiterId waiter) {
  if (!waiters_.empty() || requested_ || recalled_) return Outcome::kWouldBlock;
  if (!fits(mode) && !idle()) return Outcome::kWouldBlock;
  context.cells.push(waiters_,
                     {.waiter = waiter.value, .mode = static_cast<std::uint8_t>(wire_mode(mode) | wire::kSyncTry)});
  pump(context, id);
  return Outcome::kPending;
}

bool RwLock::unlock(Context& context, SyncId id, LockMode mode) {
  if (!end(mode)) return false;
  pump(context, id);
  return true;
}

// Lends the right to waiting threads in order; then gives it back, or asks for the one that the first of them needs.
void RwLock::pump(Context& context, SyncId id) {
  while (!waiters_.empty() && !recalled_) {
    const LockMode mode = lock_mode(context.cells.front(waiters_).mode);
    if (!fits(mode)) break;
    begin(mode);
    context.wake(context.cells.pop(waiters_).waiter, suspect_ ? Outcome::kOwnerDied : Outcome::kGranted);
  }
  if (context.frozen() || requested_ || !idle()) return;
  if (recalled_ || !waiters_.empty()) give_back(context, id);
}

void RwLock::give_back(Context& context, SyncId id) {
  const bool had = std::exchange(right_, Right::kNone) != Right::kNone;
  const bool suspect = std::exchange(suspect_, false);
  recalled_ = false;
  if (waiters_.empty()) {
    context.send_home(id, {.verb = SyncVerb::kRwRelease, .mode = suspect ? wire::kSyncOwnerDied : std::uint8_t{0}});
    return;
  }
  requested_ = true;
  ticket_ = context.next_ticket();
  std::uint8_t mode = context.cells.front(waiters_).mode;
  if (had) mode |= wire::kSyncReleasing;
  if (suspect) mode |= wire::kSyncOwnerDied;
  context.send_home(id, {.ticket = ticket_, .verb = SyncVerb::kRwRequest, .mode = mode});
}

bool RwLock::granted(Context& context, SyncId id, const SyncMessage& m) {
  if (right_ != Right::kNone || (!requested_ && !context.stale)) return false;
  requested_ = false;
  right_ = (m.mode & wire::kSyncWrite) ? Right::kWrite : Right::kRead;
  suspect_ = (m.mode & wire::kSyncOwnerDied) != 0;
  pump(context, id);
  return true;
}

void RwLock::recalled(Context& context, SyncId id, const SyncMessage& m) {
  if (right_ == Right::kNone) return;  // given back in the meantime
  if ((m.mode & wire::kSyncTry) != 0 && !idle()) {
    context.send_home(id, {.other = m.other, .verb = SyncVerb::kRwBusy});
    return;
  }
  recalled_ = true;
  pump(context, id);
}

void RwLock::denied(Context& context, SyncId id, const SyncMessage& m) {
  if (!requested_ || m.ticket != ticket_) return;
  requested_ = false;
  if (!waiters_.empty() && (context.cells.front(waiters_).mode & wire::kSyncTry) != 0) {
    context.wake(context.cells.pop(waiters_).waiter, Outcome::kWouldBlock);
  }
  pump(context, id);
}

bool RwLock::requested(Context& context, SyncId id, NodeId from, const SyncMessage& m) {
  CellPool& cells = context.cells;
  const auto of_sender = [from](const Cell& c) { return c.node == from; };
  if ((m.mode & wire::kSyncReleasing) != 0) {
    if (!cells.find(holders_, of_sender)) return false;
    released(context, id, from, m.mode);
  }
  if (cells.find(holders_, of_sender) || cells.find(queue_, of_sender)) return false;
  if ((m.mode & wire::kSyncTry) != 0 && !queue_.empty()) {
    context.send(from, {.object = id.value, .ticket = m.ticket, .verb = SyncVerb::kRwDenied});
    return true;
  }
  constexpr std::uint8_t kKept = wire::kSyncWrite | wire::kSyncTry;
  cells.push(queue_, {.ticket = m.ticket, .node = from, .mode = static_cast<std::uint8_t>(m.mode & kKept)});
  pump_home(context, id);
  return true;
}

bool RwLock::released(Context& context, SyncId id, NodeId from, std::uint8_t mode) {
  if (context.cells.remove_if(holders_, [from](const Cell& c) { return c.node == from; }) == 0) return false;
  if (std::exchange(writer_out_, false)) half_written_ = (mode & wire::kSyncOwnerDied) != 0;
  pump_home(context, id);
  return true;
}

void RwLock::pump_home(Context& context, SyncId id) {
  CellPool& cells = context.cells;
  while (!queue_.empty()) {
    const Cell wanted = cells.front(queue_);
    const bool write = (wanted.mode & wire::kSyncWrite) != 0;
    if (write ? !holders_.empty() : writer_out_) {
      recall_holders(context, id, wanted);
      return;
    }
    cells.pop(queue_);
    cells.push(holders_, {.node = wanted.node, .mode = kNotRecalled});
    writer_out_ = write;
    const bool suspect = half_written_ && !context.injected(FaultInjection::kForgetOrphan);
    std::uint8_t mode = write ? wire::kSyncWrite : std::uint8_t{0};
    if (suspect) mode |= wire::kSyncOwnerDied;
    context.send(wanted.node, {.object = id.value, .ticket = wanted.ticket, .verb = SyncVerb::kRwGrant, .mode = mode});
  }
}

void RwLock::recall_holders(Context& context, SyncId id, const Cell& wanted) {
  const std::uint8_t how = (wanted.mode & wire::kSyncTry) ? kTriedRecall : kRecalled;
  while (Cell* holder = context.cells.find(holders_, [](const Cell& c) { return c.mode == kNotRecalled; })) {
    holder->mode = how;
    context.send(holder->node, {.object = id.value,
                                .other = wanted.ticket,
                                .verb = SyncVerb::kRwRecall,
                                .mode = static_cast<std::uint8_t>(wanted.mode & wire::kSyncTry)});
  }
}

void RwLock::busy(Context& context, SyncId id, const SyncMessage& m) {
  CellPool& cells = context.cells;
  if (queue_.empty() || cells.front(queue_).ticket != m.other || (cells.front(queue_).mode & wire::kSyncTry) == 0)
    return;
  const Cell trying = cells.pop(queue_);
  context.send(trying.node, {.object = id.value, .ticket = trying.ticket, .verb = SyncVerb::kRwDenied});
  while (Cell* holder = cells.find(holders_, [](const Cell& c) { return c.mode == kTriedRecall; })) {
    holder->mode = kNotRecalled;
  }
  pump_home(context, id);
}

bool RwLock::registered(Context& context, NodeId from, const SyncMessage& m) {
  if (is_of_home(m.mode)) {
    if (context.moving) home_knew_.hear(m);
    return true;
  }
  const bool write = (m.mode & wire::kSyncWrite) != 0;
  if (writer_out_ || (write && !holders_.empty())) return false;
  if (context.cells.find(holders_, [from](const Cell& c) { return c.node == from; })) return false;
  half_written_ = (m.mode & wire::kSyncOwnerDied) != 0;
  writer_out_ = write;
  context.cells.push(holders_, {.node = from, .mode = kNotRecalled});
  return true;
}

bool RwLock::receive(Context& context, SyncId id, NodeId from, const SyncMessage& m) {
  switch (m.verb) {
    case SyncVerb::kRwRequest:
      return requested(context, id, from, m);
    case SyncVerb::kRwRelease:
      return released(context, id, from, m.mode);
    case SyncVerb::kRwBusy:
      return busy(context, id, m), true;
    case SyncVerb::kRwRegister:
      return registered(context, from, m);
    case SyncVerb::kRwGrant:
      return granted(context, id, m);
    case SyncVerb::kRwRecall:
      return recalled(context, id, m), true;
    case SyncVerb::kRwDenied:
      return denied(context, id, m), true;
    default:
      return false;
  }
}

bool RwLock::cancel(Context& context, SyncId id, WaiterId waiter) {
  const auto of_waiter = [waiter](const Cell& c) { return c.waiter == waiter.value; };
  if (context.cells.remove_if(waiters_, of_waiter) == 0) return false;
  pump(context, id);  // it may have been a writer that readers waited behind
  return true;
}

void RwLock::end_waits(Context& context, Outcome outcome) {
  requested_ = false;
  while (!waiters_.empty()) context.wake(context.cells.pop(waiters_).waiter, outcome);
}

// A right to write that is out may have died with its node, or was given back by a message that recovery forgets: if
// nobody registers a right that says otherwise, the data count as half-written.
void RwLock::view_changed(Context& context, SyncId, const Death& death) {
  requested_ = false;
  recalled_ = false;
  if (death.inherited || writer_out_) half_written_ = true;
  writer_out_ = false;
  context.cells.clear(queue_);
  context.cells.clear(holders_);
  home_knew_.view_changed(death);
}

void RwLock::homes_move(Context& context, SyncId, bool was_home) {
  requested_ = false;
  recalled_ = false;
  if (was_home || writer_out_ || (half_written_ && !home_knew_.is_known())) {  // as in Mutex
    const HomeKnew what = writer_out_ ? HomeKnew::kOut : half_written_ ? HomeKnew::kSuspect : HomeKnew::kClean;
    home_knew_ = {what, context.moves_before};
  }
  half_written_ = false;
  writer_out_ = false;
  context.cells.clear(queue_);
  context.cells.clear(holders_);
}

void RwLock::homes_moved(Context& context, SyncId id) {
  if (!home_knew_.is_known()) {
    half_written_ = half_written_ || (holders_.empty() && context.inherits(id));
  } else if (context.is_home(id) && !writer_out_) {
    half_written_ = home_knew_.what == HomeKnew::kSuspect;
  }
  home_knew_.what = HomeKnew::kNothing;
}

void RwLock::given_back_late() { home_knew_.what = HomeKnew::kSuspect; }

void RwLock::enroll(Context& context, SyncId id) {
  if (home_knew_.is_known() && !context.is_home(id))
    context.send_home(id, {.node = home_knew_.after, .verb = SyncVerb::kRwRegister, .mode = mode_of(home_knew_.what)});
  if (right_ != Right::kNone) {
    std::uint8_t mode = right_ == Right::kWrite ? wire::kSyncWrite : std::uint8_t{0};
    if (suspect_) mode |= wire::kSyncOwnerDied;
    context.send_home(id, {.verb = SyncVerb::kRwRegister, .mode = mode});
  }
  pump(context, id);
}

bool RwLock::drop(Context& context, SyncId id) {
  if (!idle() || requested_ || recalled_ || suspect_ || half_written_ || !waiters_.empty() || !queue_.empty())
    return false;
  if (!context.is_home(id)) return right_ == Right::kNone;
  if (!context.may_forget(id)) return false;
  if (right_ == Right::kNone ? !holders_.empty() : !context.cells.single(holders_)) return false;
  context.cells.clear(holders_);
  return true;
}

void RwLock::check(const Context& context, SyncId id) const {
  const bool home = context.is_home(id);
  CHECK(!writing_ || (right_ == Right::kWrite && active_readers_ == 0), id, "writing without the right");
  CHECK(active_readers_ == 0 || right_ != Right::kNone, id, "reading without the right");
  CHECK(!(requested_ && right_ != Right::kNone), id, "asked with a right");
  CHECK(waiters_.empty() || requested_ || !idle() || context.frozen(), id, "waiters that nobody will wake");
  CHECK(!recalled_ || !idle() || context.frozen(), id, "idle right that was recalled");
  CHECK(!writer_out_ || context.cells.single(holders_), id, "writer among readers");
  CHECK(home || (queue_.empty() && holders_.empty() && !half_written_), id, "home state elsewhere");
}

void RwLock::digest(const Context& context, StateDigest& digest) const {
  digest.add(ticket_, active_readers_, right_, writing_, requested_, recalled_, suspect_, half_written_, writer_out_,
             home_knew_.what, home_knew_.after);
  digest.add_queue(context.cells, waiters_);
  digest.add_queue(context.cells, queue_);
  digest.add_queue(context.cells, holders_);
}

}  // namespace gallocy::sync
