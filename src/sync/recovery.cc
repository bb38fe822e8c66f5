// What the core does when a node has died. See "Death of a node" in core.h.
#include <utility>

#include "base/check.h"
#include "sync/core.h"

namespace gallocy::sync {

using wire::SyncMessage;
using wire::SyncVerb;

void Core::node_died(NodeId node, Effects& effects) {
  CHECK(node != context_.self() && node.value < context_.options.nodes, node);
  if (context_.view.dead(node)) return;
  begin(WaiterId{}, effects);
  ObjectTable& objects = context_.objects;
  std::vector<bool> of_home(objects.places());
  for (std::size_t i = 0; i < of_home.size(); ++i) {
    const Object& object = objects.at(i);
    if (object.state.index() != 0) of_home[i] = context_.home(object.id) == node;
  }
  context_.view.bury(node);
  context_.set_frozen(true);
  rebuilding_ = true;
  for (std::size_t i = 0; i < of_home.size(); ++i) {
    Object& object = objects.at(i);
    const bool inherited = of_home[i] && context_.home(object.id) == context_.self();
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
  if (!context_.frozen()) context_.send(node, {.verb = SyncVerb::kRebuilt});
  end(Outcome::kPending);
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

void Core::introduce(const std::vector<NodeId>& gone, Effects& effects) {
  begin(WaiterId{}, effects);
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
  for (std::size_t i = 0; i < context_.objects.places(); ++i) {
    Object& object = context_.objects.at(i);
    visit_state(object, [&](auto& state) { state.enroll(context_, object.id); });
  }
  to_all_others(SyncVerb::kRebuilt);
  context_.send(context_.self(), {.verb = SyncVerb::kRebuilt});  // after what it registers with itself
}

void Core::rebuilt_arrived() {
  if (!rebuilding_ || context_.frozen() || !all_reached(rebuilt_, true)) return;
  rebuilding_ = false;
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
  const auto waiting = std::exchange(deferred_, {});
  for (const auto& [from, m] : waiting) receive(from, m);
}

}  // namespace gallocy::sync
