#include "sync/core.h"

#include <algorithm>

#include "base/check.h"
#include "sync/state_digest.h"
#include "sync/verb_rules.h"

namespace gallocy::sync {

using wire::SyncMessage;
using wire::SyncVerb;

Core::Core(const Options& options) : context_(options), flushed_(options.nodes), rebuilt_(options.nodes) {
  CHECK(options.nodes > 0 && options.nodes <= kMaxNodes && options.self.value < options.nodes, options.self);
}

// One step of the core: the call, then the messages of this node to itself that came of it.
void Core::begin(WaiterId waiter, Effects& effects) {
  context_.effects = &effects;
  context_.calling = waiter;
  context_.returned = Outcome::kPending;
}

Outcome Core::end(Outcome outcome) {
  for (std::size_t i = 0; i < context_.to_self.size(); ++i) {
    const SyncMessage message = context_.to_self[i];
    receive(context_.self(), message);
  }
  context_.to_self.clear();
  context_.effects = nullptr;
  context_.calling = WaiterId{};
  return outcome != Outcome::kPending ? outcome : context_.returned;
}

template <typename Kind, typename F>
Outcome Core::serve(SyncId id, WaiterId waiter, Effects& effects, F f) {
  if (id.value == 0 || context_.first_home(id) == kNoNode) return Outcome::kMismatch;
  begin(waiter, effects);
  Kind* object = context_.find<Kind>(id);
  return end(object == nullptr ? Outcome::kMismatch : f(*object));
}

Outcome Core::lock(SyncId id, WaiterId waiter, Effects& effects) {
  ++context_.counters.acquires;
  if (Object* object = context_.objects.find(id)) {
    Mutex* mutex = std::get_if<Mutex>(&object->state);
    if (mutex != nullptr && mutex->take_if_here()) {
      object->used = true;
      ++context_.counters.acquires_cached;
      return Outcome::kGranted;
    }
  }
  const std::uint64_t sent_before = context_.counters.sent;
  const Outcome outcome = serve<Mutex>(id, waiter, effects, [&](Mutex& m) { return m.lock(context_, id, waiter); });
  if (succeeded(outcome) && context_.counters.sent == sent_before) ++context_.counters.acquires_cached;
  return outcome;
}

Outcome Core::try_lock(SyncId id, WaiterId waiter, Effects& effects) {
  return serve<Mutex>(id, waiter, effects, [&](Mutex& m) { return m.try_lock(context_, id, waiter); });
}

Outcome Core::unlock(SyncId id, Effects& effects) {
  if (Object* object = context_.objects.find(id)) {
    Mutex* mutex = std::get_if<Mutex>(&object->state);
    if (mutex != nullptr && mutex->drop_if_unwanted()) return Outcome::kGranted;
  }
  return serve<Mutex>(id, WaiterId{}, effects,
                      [&](Mutex& m) { return m.unlock(context_, id) ? Outcome::kGranted : Outcome::kMismatch; });
}

Outcome Core::rw_lock(SyncId id, LockMode mode, WaiterId waiter, Effects& effects) {
  ++context_.counters.acquires;
  if (Object* object = context_.objects.find(id)) {
    RwLock* lock = std::get_if<RwLock>(&object->state);
    if (lock != nullptr && lock->take_if_here(mode)) {
      object->used = true;
      ++context_.counters.acquires_cached;
      return Outcome::kGranted;
    }
  }
  return serve<RwLock>(id, waiter, effects, [&](RwLock& l) { return l.lock(context_, id, mode, waiter); });
}

Outcome Core::try_rw_lock(SyncId id, LockMode mode, WaiterId waiter, Effects& effects) {
  return serve<RwLock>(id, waiter, effects, [&](RwLock& l) { return l.try_lock(context_, id, mode, waiter); });
}

Outcome Core::rw_unlock(SyncId id, LockMode mode, Effects& effects) {
  if (Object* object = context_.objects.find(id)) {
    RwLock* lock = std::get_if<RwLock>(&object->state);
    if (lock != nullptr && lock->drop_if_unwanted(mode)) return Outcome::kGranted;
  }
  return serve<RwLock>(id, WaiterId{}, effects, [&](RwLock& l) {
    return l.unlock(context_, id, mode) ? Outcome::kGranted : Outcome::kMismatch;
  });
}

Outcome Core::wait(SyncId id, SyncId mutex, WaiterId waiter, Effects& effects) {
  return serve<Condition>(id, waiter, effects, [&](Condition& c) { return c.wait(context_, id, mutex, waiter); });
}

Outcome Core::notify(SyncId id, Notify whom, Effects& effects) {
  return serve<Condition>(id, WaiterId{}, effects, [&](Condition& c) {
    c.notify(context_, id, whom == Notify::kAll);
    return Outcome::kGranted;
  });
}

Outcome Core::acquire(SyncId id, std::uint32_t initial, WaiterId waiter, Effects& effects) {
  return serve<Semaphore>(id, waiter, effects, [&](Semaphore& s) {
    return s.acquire(context_, id, initial, waiter, Semaphore::Wait::kWait);
  });
}

Outcome Core::try_acquire(SyncId id, std::uint32_t initial, WaiterId waiter, Effects& effects) {
  return serve<Semaphore>(id, waiter, effects, [&](Semaphore& s) {
    return s.acquire(context_, id, initial, waiter, Semaphore::Wait::kTry);
  });
}

Outcome Core::release(SyncId id, std::uint32_t initial, std::uint32_t permits, Effects& effects) {
  return serve<Semaphore>(id, WaiterId{}, effects, [&](Semaphore& s) {
    s.release(context_, id, initial, permits);
    return Outcome::kGranted;
  });
}

Outcome Core::arrive(SyncId id, std::uint32_t expected, WaiterId waiter, Effects& effects) {
  return serve<Barrier>(id, waiter, effects, [&](Barrier& b) { return b.arrive(context_, id, expected, waiter); });
}

Outcome Core::count_down(SyncId id, std::uint32_t expected, std::uint32_t update, Effects& effects) {
  return serve<Latch>(id, WaiterId{}, effects, [&](Latch& l) {
    l.count_down(context_, id, expected, update);
    return Outcome::kGranted;
  });
}

Outcome Core::latch_wait(SyncId id, std::uint32_t expected, WaiterId waiter, Effects& effects) {
  return serve<Latch>(id, waiter, effects,
                      [&](Latch& l) { return l.wait(context_, id, expected, waiter, Latch::Wait::kWait); });
}

Outcome Core::latch_try_wait(SyncId id, std::uint32_t expected, WaiterId waiter, Effects& effects) {
  return serve<Latch>(id, waiter, effects,
                      [&](Latch& l) { return l.wait(context_, id, expected, waiter, Latch::Wait::kTry); });
}

Outcome Core::once_call(SyncId id, WaiterId waiter, Effects& effects) {
  return serve<Once>(id, waiter, effects, [&](Once& o) { return o.call(context_, id, waiter); });
}

Outcome Core::once_end(SyncId id, bool success, Effects& effects) {
  return serve<Once>(id, WaiterId{}, effects,
                     [&](Once& o) { return o.end(context_, id, success) ? Outcome::kGranted : Outcome::kMismatch; });
}

Outcome Core::meet(WaiterId waiter, Effects& effects) {
  begin(waiter, effects);
  return end(meet_.arrive(context_, waiter));
}

Outcome Core::cancel_meet(WaiterId waiter) { return meet_.cancel(waiter) ? Outcome::kTimeout : Outcome::kPending; }

Outcome Core::cancel(SyncId id, WaiterId waiter, Effects& effects) {
  Object* object = context_.objects.find(id);
  if (object == nullptr) return Outcome::kPending;
  begin(waiter, effects);
  bool over = false;
  visit_state(*object, [&](auto& state) { over = state.cancel(context_, id, waiter); });
  return end(over ? Outcome::kTimeout : Outcome::kPending);
}

void Core::message(NodeId from, const SyncMessage& message, Effects& effects) {
  begin(WaiterId{}, effects);
  receive(from, message);
  end(Outcome::kPending);
}

// The gate: who may say what, and when.
void Core::receive(NodeId from, const SyncMessage& m) {
  const bool known = static_cast<std::uint8_t>(m.verb) < wire::kSyncVerbs && from.value < context_.options.nodes;
  if (!known) {
    ++context_.counters.refused;
    return;
  }
  if (!context_.view.alive(from)) {
    ++context_.counters.from_dead;
    return;
  }
  const VerbRule rule = rule_of(m.verb);
  const bool current = m.view == context_.view.number();
  const bool stale = View::changes_of(m.view) < context_.view.changes();
  if (!current && !stale) return defer(from, m);
  if (stale && context_.moving && rule.way == Way::kToHome) return late(m);
  if (stale && rule.void_when_stale) return;
  if (context_.rebuilding && !rule.recovery && (current || asks_an_heir(m))) return defer(from, m);
  context_.stale = stale;
  if (!addressed_rightly(from, m)) {
    context_.stale = false;
    // The sender may know of a death, not yet known here, that makes this node the home.
    if (stale && rule.way != Way::kAny) return defer(from, m);
    ++context_.counters.refused;
    return;
  }
  if (!deliver(from, m)) ++context_.counters.refused;
  context_.stale = false;
}

// A request of an older view for an object that this node has inherited: whether the inheritance is complete only shows
// at the end of this recovery.
bool Core::asks_an_heir(const SyncMessage& m) const {
  return rule_of(m.verb).way == Way::kToHome && context_.first_home(SyncId{m.object}) != context_.self();
}

bool Core::addressed_rightly(NodeId from, const SyncMessage& m) const {
  const VerbRule rule = rule_of(m.verb);
  if (!rule.names_object) return m.object == 0;
  const SyncId id{m.object};
  if (id.value == 0 || context_.first_home(id) == kNoNode) return false;
  if (rule.names_node && !context_.view.alive(NodeId{m.node})) return false;
  switch (rule.way) {
    case Way::kAny:
      return true;
    case Way::kToHome:
      return context_.is_home(id);
    case Way::kFromHome:
      return context_.home(id) == from ||
             (context_.stale && std::ranges::find(homes_before_, from) != homes_before_.end());
  }
  return false;
}

template <typename Kind>
bool Core::pass_to(SyncId id, NodeId from, const SyncMessage& m) {
  Kind* object = context_.find<Kind>(id);
  if (object != nullptr) return object->receive(context_, id, from, m);
  mismatch(from, m);
  return false;
}

bool Core::deliver(NodeId from, const SyncMessage& m) {
  using enum SyncVerb;
  const SyncId id{m.object};
  if (m.verb == kFlush) {
    flushed_[from.value] = m.view;
    return flush_arrived(), true;
  }
  if (m.verb == kRebuilt) {
    rebuilt_[from.value] = m.view;
    return rebuilt_arrived(), true;
  }
  if (m.verb <= kMutexRegister) return pass_to<Mutex>(id, from, m);
  if (m.verb <= kRwRegister) return pass_to<RwLock>(id, from, m);
  if (m.verb <= kConditionWakeAll) return pass_to<Condition>(id, from, m);
  if (m.verb <= kSemaphoreRegister) return pass_to<Semaphore>(id, from, m);
  if (m.verb <= kBarrierRegister) return pass_to<Barrier>(id, from, m);
  if (m.verb <= kLatchRegister) return pass_to<Latch>(id, from, m);
  if (m.verb <= kOnceRegister) return pass_to<Once>(id, from, m);
  if (m.verb <= kMeetDown) return meet_.receive(context_, from, m);
  Object* object = context_.objects.find(id);
  if (object == nullptr) return false;
  visit_state(*object, [&](auto& state) { state.end_waits(context_, Outcome::kMismatch); });
  return true;
}

void Core::mismatch(NodeId to, const SyncMessage& m) {
  const VerbRule rule = rule_of(m.verb);
  if (rule.way != Way::kToHome || rule.recovery) return;
  context_.send(to, {.object = m.object, .verb = SyncVerb::kMismatch});
}

void Core::tick(Effects& effects) {
  begin(WaiterId{}, effects);
  ++context_.ticks;
  std::erase_if(context_.holding_arrivals, [this](SyncId id) {
    Object* object = context_.objects.find(id);
    Barrier* barrier = object == nullptr ? nullptr : std::get_if<Barrier>(&object->state);
    return barrier == nullptr || !barrier->still_holding(context_, id);
  });
  if (!context_.rebuilding) sweep();
  end(Outcome::kPending);
}

// Forgets objects that are as new and were not used since the sweep came by the last time.
void Core::sweep() {
  ObjectTable& objects = context_.objects;
  for (std::uint32_t i = 0; i < kSweepObjects && i < objects.places(); ++i) {
    Object& object = objects.at(sweep_place_++ % objects.places());
    if (std::exchange(object.used, false)) continue;
    const SyncId id = object.id;
    bool dropped = false;
    visit_state(object, [&](auto& state) { dropped = state.drop(context_, id); });
    if (dropped) objects.erase(id);
  }
}

std::size_t Core::metadata_bytes() const { return context_.objects.bytes() + context_.cells.bytes(); }

void Core::check_invariants() const {
  CHECK(context_.to_self.empty());
  CHECK(!context_.frozen() || context_.rebuilding);
  for (std::size_t i = 0; i < context_.objects.places(); ++i) {
    const Object& object = context_.objects.at(i);
    visit_state(object, [&](const auto& state) { state.check(context_, object.id); });
  }
}

std::uint64_t Core::digest() const {
  StateDigest digest;
  digest.add(context_.view.number(), context_.frozen(), context_.rebuilding, context_.acknowledged,
             context_.last_ticket(), said_rebuilt_, context_.a_home_died);
  for (const NodeId home : homes_before_) digest.add(home.value);
  for (std::size_t i = 0; i < context_.objects.places(); ++i) {
    const Object& object = context_.objects.at(i);
    visit_state(object, [&](const auto& state) {
      digest.add(object.id.value);
      state.digest(context_, digest);
    });
  }
  for (const auto& [from, m] : deferred_) digest.add(from.value, digest_of(m));
  for (std::uint16_t i = 0; i < context_.options.nodes; ++i) digest.add(flushed_[i], rebuilt_[i]);
  meet_.digest(digest);
  return digest.value();
}

}  // namespace gallocy::sync
