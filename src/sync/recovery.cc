// What the core does when a node has died, and when homes move. See core.h.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "sync/core.h"

namespace gallocy::sync {

using wire::SyncMessage;
using wire::SyncVerb;

namespace {

// f(id, state), of all objects.
template <typename F>
void for_each_state(ObjectTable& objects, F f) {
  for (std::size_t i = 0; i < objects.places(); ++i) {
    Object& object = objects.at(i);
    visit_state(object, [&](auto& state) { f(object.id, state); });
  }
}

}  // namespace

void Core::node_died(NodeId node, Effects& effects) {
  CHECK(node != context_.self() && node.value < context_.options.nodes, node);
  if (context_.view.dead(node)) return;
  begin(WaiterId{}, effects);
  ObjectTable& objects = context_.objects;
  // Before a move is over the home that was may have been the only one that knew something.
  const bool had_homes = std::ranges::find(homes_before_, node) != homes_before_.end();
  std::vector<bool> of_home(objects.places());
  for (std::size_t i = 0; i < of_home.size(); ++i) {
    const Object& object = objects.at(i);
    if (object.state.index() != 0) of_home[i] = had_homes || context_.home(object.id) == node;
  }
  if (context_.options.founders == 1 && (had_homes || context_.view.next_home(NodeId{0}) == node)) {
    // Some may have got to the end of a move before, and some not: so that is one for all.
    context_.a_home_died = context_.moving = true;
    homes_before_.push_back(node);
  }
  context_.view.bury(node);
  begin_recovery();
  for (std::size_t i = 0; i < of_home.size(); ++i) {
    Object& object = objects.at(i);
    const bool inherited = of_home[i] && context_.is_home(object.id);
    const Death death{node, of_home[i], inherited};
    visit_state(object, [&](auto& state) { state.view_changed(context_, object.id, death); });
  }
  meet_.view_changed(context_);
  to_all_others(SyncVerb::kFlush);
  flush_arrived();
  deliver_deferred();
  end(Outcome::kPending);
}

// The newcomer may learn of a death for itself that this node had registered after before it came: then it waits for
// the word of this node, which the others have. While frozen, this node has yet to say it.
void Core::node_joined(NodeId node, Effects& effects) {
  CHECK(!context_.view.dead(node) && node != context_.self(), node);
  begin(WaiterId{}, effects);
  context_.view.welcome(node);
  context_.send(node, {.verb = SyncVerb::kFlush});
  if (!context_.rebuilding || said_rebuilt_) context_.send(node, {.verb = SyncVerb::kRebuilt});
  end(Outcome::kPending);
}

void Core::homes_move(const HomesMoved& moved, Effects& effects) {
  CHECK(context_.options.founders == 1);
  if (moved.moves <= context_.view.moves()) {
    if (moved.moves == context_.view.moves()) context_.view.pass_over(moved.passed_over, moved.moves);
    return;
  }
  begin(WaiterId{}, effects);
  const NodeId before = context_.view.next_home(NodeId{0});
  homes_before_.push_back(before);
  // One that has not become the home yet knows nothing that the one before it does not.
  const bool was_moving = std::exchange(context_.moving, true);
  const bool was_home = before == context_.self() && !was_moving;
  context_.moves_before = context_.view.moves();
  context_.view.pass_over(moved.passed_over, moved.moves);
  begin_recovery();
  for_each_state(context_.objects, [&](SyncId id, auto& state) { state.homes_move(context_, id, was_home); });
  to_all_others(SyncVerb::kFlush);
  flush_arrived();
  deliver_deferred();
  end(Outcome::kPending);
}

void Core::begin_recovery() {
  context_.set_frozen(true);
  context_.rebuilding = true;
  said_rebuilt_ = false;
}

// Sent to this node as the home of an object, in the view before a move, by one that has not heard of it. It asks again
// when it has; but what it told would be lost.
void Core::late(const SyncMessage& m) {
  const SyncId id{m.object};
  if (id.value == 0 || context_.first_home(id) == kNoNode) {
    ++context_.counters.refused;
  } else if (m.verb == SyncVerb::kSemaphoreRelease || m.verb == SyncVerb::kLatchCountDown) {
    if (!context_.injected(FaultInjection::kDropLate)) context_.send_home(id, m);
  } else if (const bool half_written = (m.mode & wire::kSyncOwnerDied) != 0;
             half_written && (m.verb == SyncVerb::kRwRelease || m.verb == SyncVerb::kRwRequest)) {
    if (RwLock* const lock = context_.find<RwLock>(id)) lock->given_back_late();
  }
}

void Core::node_left(NodeId node, Effects& effects) {
  if (context_.view.dead(node)) return;
  begin(WaiterId{}, effects);
  context_.view.dismiss(node);
  flush_arrived();  // in the middle of a recovery, nobody waits for its word any more
  rebuilt_arrived();
  end(Outcome::kPending);
}

std::vector<Core::Kept> Core::kept() {
  std::vector<Kept> kept;
  ObjectTable& objects = context_.objects;
  for (std::size_t i = 0; i < objects.places(); ++i) {
    const Object& object = objects.at(i);
    const auto* mutex = std::get_if<Mutex>(&object.state);
    const auto* shared = std::get_if<RwLock>(&object.state);
    const bool is_here =
        (mutex != nullptr && mutex->has_token()) || (shared != nullptr && shared->right() != RwLock::Right::kNone);
    const bool comes = (mutex != nullptr && mutex->awaits_token()) || (shared != nullptr && shared->awaits_right());
    const NodeId home = is_here || comes ? context_.home(object.id) : context_.self();
    if (home != context_.self()) kept.push_back({object.id, shared != nullptr, home, is_here});
  }
  return kept;
}

void Core::introduce(const std::vector<NodeId>& gone, const HomesMoved& moved, Effects& effects) {
  introduced_ = true;
  begin(WaiterId{}, effects);
  if (moved.moves >= context_.view.moves()) context_.view.pass_over(moved.passed_over, moved.moves);
  context_.a_home_died = context_.a_home_died || moved.a_home_died;
  for (const NodeId node : gone) {
    if (!context_.view.dead(node)) context_.view.bury(node);
  }
  acknowledge_losses();
  to_all_others(SyncVerb::kFlush);
  to_all_others(SyncVerb::kRebuilt);
  deliver_deferred();  // what the others said to it, who knew before it who is gone
  end(Outcome::kPending);
}

void Core::to_all_others(SyncVerb verb) {
  for (std::uint16_t i = 0; i < context_.options.nodes; ++i) {
    const NodeId node{i};
    if (node != context_.self() && context_.view.alive(node)) context_.send(node, {.verb = verb});
  }
}

bool Core::all_reached(const std::vector<std::uint64_t>& views, bool also_self) const {
  for (std::uint16_t i = 0; i < context_.options.nodes; ++i) {
    const NodeId node{i};
    if (!context_.view.alive(node) || (node == context_.self() && !also_self)) continue;
    if (views[i] != context_.view.number()) return false;
  }
  return true;
}

void Core::flush_arrived() {
  const bool early = context_.injected(FaultInjection::kRegisterTooEarly);
  if (!context_.frozen() || (!early && !all_reached(flushed_, false))) return;
  context_.set_frozen(false);
  for_each_state(context_.objects, [&](SyncId id, auto& state) { state.enroll(context_, id); });
  if (rebuilds_last()) return rebuilt_arrived();
  say_rebuilt();
}

// Whoever has heard Rebuilt from everybody knows that the next home has got everything.
bool Core::rebuilds_last() const {
  if (context_.injected(FaultInjection::kRebuiltTooEarly)) return false;
  return context_.moving && context_.view.next_home(NodeId{0}) == context_.self();
}

void Core::say_rebuilt() {
  said_rebuilt_ = true;
  to_all_others(SyncVerb::kRebuilt);
  context_.send(context_.self(), {.verb = SyncVerb::kRebuilt});  // after what it registers with itself
}

void Core::rebuilt_arrived() {
  if (!context_.rebuilding || context_.frozen()) return;
  if (!said_rebuilt_ && all_reached(rebuilt_, false)) say_rebuilt();
  if (!all_reached(rebuilt_, true)) return;
  context_.rebuilding = false;
  if (std::exchange(context_.moving, false)) {
    context_.became_home = std::ranges::any_of(homes_before_, [&](NodeId home) { return home != context_.self(); });
    for_each_state(context_.objects, [&](SyncId id, auto& state) { state.homes_moved(context_, id); });
    homes_before_.clear();
  }
  deliver_deferred();
}

void Core::defer(NodeId from, const SyncMessage& m) {
  if (deferred_.size() >= kMostDeferred) {
    ++context_.counters.refused;
    return;
  }
  ++context_.counters.deferred;
  deferred_.emplace_back(from, m);
}

// May be entered again from within, when one of the messages completes a recovery: those put aside again by then are
// older than the rest of this list, and so are delivered first.
void Core::deliver_deferred() {
  auto waiting = std::exchange(deferred_, {});
  // Before a Flush of the last other node may say that nothing older is in flight.
  std::ranges::stable_partition(waiting, [this](const auto& each) { return each.first == context_.self(); });
  for (const auto& [from, m] : waiting) receive(from, m);
}

}  // namespace gallocy::sync
