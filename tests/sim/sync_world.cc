#include "sync_world.h"

#include <algorithm>

namespace gallocy::sim {

SyncWorld::SyncWorld(const SyncWorldOptions& options)
    : options_(options),
      prng_(options.seed),
      network_(options.nodes, options.seed + 1),
      knows_of_death_(options.nodes, false),
      told_of_moves_(options.nodes, 0) {
  for (std::uint16_t i = 0; i < options.nodes; ++i) {
    cores_.push_back(
        std::make_unique<sync::Core>(sync::Options{.self = NodeId{i},
                                                   .nodes = options.nodes,
                                                   .founders = options.moves > 0 ? std::uint16_t{1} : std::uint16_t{0},
                                                   .most_local_turns = 3,
                                                   .fault_injection = options.fault_injection}));
  }
  for (unsigned i = 0; i < options.moves; ++i) moves_at_.push_back(prng_.below(400));
  for (unsigned i = 0; i < options.crashes && i + 1 < options.nodes; ++i) deaths_at_.push_back(prng_.below(400));
}

bool SyncWorld::run() {
  while (failure_.empty() && step()) {
    if (++steps_ > options_.most_steps) fail("too many steps: livelock");
  }
  if (check_cores() && failure_.empty()) {
    for (std::uint16_t i = 0; i < options_.nodes; ++i) {
      if (!alive(NodeId{i})) continue;
      require(core(NodeId{i}).counters().refused == 0, "a core refused a message of another");
      require(!core(NodeId{i}).recovering(), "recovery did not end");
    }
  }
  return failure_.empty();
}

// False: nothing is left to do.
bool SyncWorld::step() {
  if (std::erase_if(deaths_at_, [this](std::uint64_t at) { return at <= steps_; }) > 0) kill_a_node();
  if (std::erase_if(moves_at_, [this](std::uint64_t at) { return at <= steps_; }) > 0) move_homes();
  if (!moves_.empty() && prng_.one_in(8) && tell_of_moves()) return true;
  if (options_.cancel_one_in != 0 && prng_.one_in(options_.cancel_one_in)) cancel_a_wait();
  if (prng_.one_in(50)) tick(random_live_node());
  const bool prefer_messages = prng_.one_in(2);
  if (prefer_messages && network_.pending() > 0) return deliver(), true;
  if (run_a_thread()) return true;
  if (network_.pending() > 0) return deliver(), true;
  if (tell_of_moves()) return true;
  // Arrivals at barriers may be held back for two ticks.
  for (int round = 0; round < 3 && network_.pending() == 0; ++round) {
    for (std::uint16_t i = 0; i < options_.nodes; ++i) {
      if (alive(NodeId{i})) tick(NodeId{i});
    }
  }
  if (network_.pending() > 0) return true;
  for (const auto& thread : threads_) {
    if (thread && thread->waiting_) fail("a thread waits for ever");
  }
  return false;
}

bool SyncWorld::run_a_thread() {
  // A random start, then the first that can go on.
  const std::size_t start = threads_.empty() ? 0 : prng_.below(threads_.size());
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    const std::size_t at = (start + i) % threads_.size();
    if (!threads_[at] || threads_[at]->waiting_ || programs_[at]->done()) continue;
    digest_ = mix(digest_, at);
    programs_[at]->resume();
    return true;
  }
  return false;
}

void SyncWorld::deliver() {
  const auto delivery = network_.deliver_random(prng_);
  sync::Core& to = core(delivery.to);
  if (delivery.message) {
    to.message(delivery.from, *delivery.message, effects_);
  } else {
    knows_of_death_[delivery.to.value] = true;
    to.node_died(delivery.from, effects_);
  }
  carry_out(delivery.to);
  if (check_cores()) to.check_invariants();
}

void SyncWorld::cancel_a_wait() {
  std::vector<Thread*> candidates;
  for (const auto& thread : threads_) {
    if (thread && thread->waiting_ && thread->may_cancel_) candidates.push_back(thread.get());
  }
  if (candidates.empty()) return;
  Thread& thread = *candidates[prng_.below(candidates.size())];
  const Outcome outcome = step_core(
      thread.node_, [&](sync::Core& c, sync::Effects& e) { return c.cancel(thread.waits_on_, thread.waiter_, e); });
  if (outcome != Outcome::kPending) wake(thread.node_, thread.waiter_, outcome);
}

void SyncWorld::tick(NodeId node) {
  core(node).tick(effects_);
  carry_out(node);
  if (check_cores()) core(node).check_invariants();
}

void SyncWorld::kill_a_node() {
  if (network_.alive_count() < 2) return;
  const NodeId node = random_live_node();
  digest_ = mix(digest_, node.value + 1000u);
  network_.kill(node, prng_);
  for (const auto& listener : death_listeners_) listener(node);
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    if (!threads_[i] || threads_[i]->node_ != node) continue;
    programs_[i].reset();
    threads_[i].reset();
  }
}

// As in an open cluster (runtime/sync_following.h): one is about to leave at a time, and it may think better of it.
void SyncWorld::move_homes() {
  sync::HomesMoved next;
  next.moves = static_cast<std::uint16_t>(moves_.size() + 1);
  if (moves_.empty() || moves_.back().passed_over.empty() || !prng_.one_in(3))
    next.passed_over.push_back(random_live_node());
  digest_ = mix(digest_, next.passed_over.empty() ? 2000u : next.passed_over.front().value + 2001u);
  moves_.push_back(std::move(next));
}

// One node, which may have missed some. False: all have heard of all.
bool SyncWorld::tell_of_moves() {
  std::vector<NodeId> behind;
  for (std::uint16_t i = 0; i < options_.nodes; ++i) {
    if (alive(NodeId{i}) && told_of_moves_[i] < moves_.size()) behind.push_back(NodeId{i});
  }
  if (behind.empty()) return false;
  const NodeId node = behind[prng_.below(behind.size())];
  std::size_t& told = told_of_moves_[node.value];
  told += 1 + prng_.below(moves_.size() - told);
  core(node).homes_move(moves_[told - 1], effects_);
  carry_out(node);
  if (check_cores()) core(node).check_invariants();
  return true;
}

void SyncWorld::carry_out(NodeId node) {
  for (const sync::Effect& effect : effects_) {
    if (effect.kind == sync::Effect::Kind::kSend) {
      network_.send(node, effect.node, effect.message);
    } else {
      wake(node, effect.waiter, effect.outcome);
    }
  }
  effects_.clear();
}

void SyncWorld::wake(NodeId node, WaiterId waiter, Outcome outcome) {
  digest_ = mix(digest_, waiter.value * 16 + static_cast<std::uint64_t>(outcome));
  Thread* thread = threads_[waiter.value - 1].get();
  if (thread == nullptr || thread->node_ != node || !thread->waiting_) return fail("woke a thread that does not wait");
  thread->waiting_ = false;
  thread->outcome_ = outcome;
}

NodeId SyncWorld::random_live_node() {
  for (;;) {
    const NodeId node(static_cast<std::uint16_t>(prng_.below(options_.nodes)));
    if (alive(node)) return node;
  }
}

std::uint64_t SyncWorld::digest() const {
  std::uint64_t digest = mix(digest_, network_.digest());
  for (std::uint16_t i = 0; i < options_.nodes; ++i) {
    if (alive(NodeId{i})) digest = mix(digest, cores_[i]->digest());
  }
  return digest;
}

}  // namespace gallocy::sim
