#include "whole_sync.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"
#include "network.h"

namespace gallocy::sim {

// One founder, as where nodes come and go (runtime.cc).
void WholeSync::start(NodeId node, const std::vector<NodeId>& present) {
  const sync::Options options{
      .self = node, .nodes = most_nodes_, .present = present, .founders = 1, .fault_injection = fault_};
  const bool is_new = nodes_.emplace(node, Node{.core = sync::Core(options)}).second;
  CHECK(is_new, node);
}

void WholeSync::node_joined(NodeId node, NodeId other) {
  core(node).node_joined(other, effects_);
  carry_out(node);
}

void WholeSync::bury(NodeId node, NodeId dead) {
  core(node).node_died(dead, effects_);
  carry_out(node);
}

void WholeSync::introduce(NodeId node, const std::vector<NodeId>& gone, const sync::HomesMoved& moved) {
  if (std::exchange(nodes_.at(node).introduced, true)) return;
  core(node).introduce(gone, moved, effects_);
  carry_out(node);
}

void WholeSync::arrive(NodeId from, NodeId to, const wire::SyncMessage& message) {
  core(to).message(from, message, effects_);
  carry_out(to);
}

void WholeSync::tick(NodeId node) {
  core(node).tick(effects_);
  carry_out(node);
}

void WholeSync::carry_out(NodeId node) {
  core(node).check_invariants();
  for (const sync::Effect& effect : std::exchange(effects_, {})) {
    if (effect.kind == sync::Effect::Kind::kSend) {
      on_send(node, effect.node, effect.message);
    } else if (effect.waiter.value < kFirstRecall) {
      on_wake(node, effect.waiter, effect.outcome);
    } else {
      const auto recall = nodes_.at(node).recalls.extract(effect.waiter.value);
      if (sync::succeeded(effect.outcome)) put_down(node, recall.mapped());
    }
  }
}

// ---------------------------------------------------------------------------------------------- leaving

std::size_t WholeSync::give_back(NodeId node) {
  const auto kept = core(node).kept();
  for (const sync::Core::Kept& one : kept) {
    if (one.is_here) on_recall(node, one.home, {.object = one.id.value, .is_shared_mutex = one.is_shared_mutex});
  }
  return kept.size();
}

void WholeSync::take_back(NodeId node, const wire::SyncRecall& recall) {
  Node& n = nodes_.at(node);
  const sync::SyncId id{recall.object};
  const sync::WaiterId waiter{++n.last_recall};
  n.recalls[waiter.value] = recall;
  const sync::Outcome outcome = recall.is_shared_mutex != 0
                                    ? n.core.rw_lock(id, sync::LockMode::kExclusive, waiter, effects_)
                                    : n.core.lock(id, waiter, effects_);
  if (outcome != sync::Outcome::kPending) n.recalls.erase(waiter.value);
  carry_out(node);
  if (sync::succeeded(outcome)) put_down(node, recall);
}

void WholeSync::put_down(NodeId node, const wire::SyncRecall& recall) {
  const sync::SyncId id{recall.object};
  if (recall.is_shared_mutex != 0) {
    (void)core(node).rw_unlock(id, sync::LockMode::kExclusive, effects_);
  } else {
    (void)core(node).unlock(id, effects_);
  }
  carry_out(node);
}

void WholeSync::node_left(NodeId node, NodeId other) {
  core(node).node_left(other, effects_);
  carry_out(node);
}

void WholeSync::homes_move(NodeId node, const sync::HomesMoved& moved) {
  if (!is_introduced(node)) return;
  core(node).homes_move(moved, effects_);
  carry_out(node);
}

bool WholeSync::has_no_homes(NodeId node) const { return nodes_.at(node).core.has_no_homes(); }

std::string WholeSync::describe(NodeId node) const {
  const Node& n = nodes_.at(node);
  return fmt::format("{}, {}, {} deaths, {} refused", n.introduced ? "introduced" : "not introduced",
                     n.core.recovering() ? "recovering" : "at rest", n.core.known_deaths(), n.core.counters().refused);
}

void WholeSync::check_rest() const {
  for (const auto& [node, n] : nodes_) {
    CHECK(is_at_rest(node), describe(node), node);
    CHECK(n.core.counters().refused == 0, "refused a message", node, n.core.counters().refused);
    CHECK(n.core.known_deaths() == nodes_.begin()->second.core.known_deaths(), "knows of other deaths", node);
  }
}

std::uint64_t WholeSync::digest() const {
  std::uint64_t digest = 0;
  for (const auto& [node, n] : nodes_) digest = mix(digest, n.core.digest());
  return digest;
}

}  // namespace gallocy::sim
