#include "coherence_explorer.h"

#include <cstdio>

#include "base/check.h"
#include "coherence_inspector.h"

namespace gallocy::sim {

CoherenceExplorer::CoherenceExplorer(const Exploration& exploration) : exploration_(exploration) {}

CoherenceExplorer::State CoherenceExplorer::new_state() {
  return {.cluster = std::make_unique<CoherenceCluster>(exploration_.cluster, *this),
          .threads = std::vector<ThreadState>(exploration_.threads.size())};
}

void CoherenceExplorer::copy(const State& from, State& to) const {
  to.cluster->copy_from(*from.cluster);
  to.threads = from.threads;
  to.crashed = from.crashed;
  to.early_ticks = from.early_ticks;
}

std::uint64_t CoherenceExplorer::digest(const State& state) const {
  std::uint64_t sum = state.cluster->digest();
  for (const ThreadState& t : state.threads) sum = mix(sum, t.next | t.waits << 16 | t.lost << 17);
  const bool counted = exploration_.early_ticks != ~0u;
  return mix(sum, state.crashed + (counted ? 2 * state.early_ticks : 0));
}

ExplorationReport CoherenceExplorer::run() {
  // States are visited at most this deep; the deque-like growth keeps references valid.
  path_.reserve(4096);
  path_.push_back(new_state());
  visit(0, {});
  check_every_state_can_end();
  report_.states = known_.size();
  return report_;
}

// Visits the state at path_[depth], which is new or known; returns its number.
std::uint32_t CoherenceExplorer::visit(std::size_t depth, std::pair<std::uint32_t, Choice> way) {
  const auto [found, is_new] = known_.emplace(digest(path_[depth]), static_cast<std::uint32_t>(known_.size()));
  const std::uint32_t number = found->second;
  if (!is_new) return number;
  CHECK(known_.size() <= exploration_.most_states, "too many states", exploration_.name);
  before_.emplace_back();
  first_way_.push_back(way);
  if (is_cut(path_[depth])) {
    ends_.push_back(number);
    ++report_.cut;
    return number;
  }
  const std::vector<Choice> possible = choices(path_[depth]);
  if (possible.empty()) {
    check_end(path_[depth]);
    ends_.push_back(number);
    ++report_.ends;
    return number;
  }
  CHECK(depth + 1 < path_.capacity(), "too deep", exploration_.name);
  for (const Choice& choice : possible) {
    if (path_.size() == depth + 1) path_.push_back(new_state());
    copy(path_[depth], path_[depth + 1]);
    take(path_[depth + 1], choice);
    ++report_.steps;
    const std::uint32_t next = visit(depth + 1, {number, choice});
    before_[next].push_back(number);
  }
  return number;
}

std::vector<CoherenceExplorer::Choice> CoherenceExplorer::choices(const State& state) const {
  std::vector<Choice> possible;
  const CoherenceCluster& cluster = *state.cluster;
  for (std::uint16_t from = 0; from < cluster.count(); ++from) {
    for (std::uint16_t to = 0; to < cluster.count(); ++to) {
      if (cluster.network().pending(NodeId{from}, NodeId{to}) != 0)
        possible.push_back({Choice::Kind::kDeliver, from, to});
    }
  }
  bool time = false;
  for (std::uint16_t node = 0; node < cluster.count(); ++node)
    time = time || (cluster.alive(NodeId{node}) && cluster.core(NodeId{node}).next_deadline() != ~std::uint64_t{0});
  for (std::uint16_t i = 0; i < state.threads.size(); ++i) {
    const auto& thread = exploration_.threads[i];
    if (!state.threads[i].waits && !state.threads[i].lost && cluster.alive(thread.node) &&
        state.threads[i].next < thread.operations.size())
      possible.push_back({Choice::Kind::kStep, i, 0});
  }
  if (time && (cluster.network().pending() == 0 || state.early_ticks < exploration_.early_ticks))
    possible.push_back({Choice::Kind::kTime, 0, 0});
  if (exploration_.crash && !state.crashed && !possible.empty())
    possible.push_back({Choice::Kind::kCrash, exploration_.victim.value, 0});
  return possible;
}

void CoherenceExplorer::take(State& state, const Choice& choice) {
  present_ = &state;
  switch (choice.kind) {
    case Choice::Kind::kDeliver:
      if (!state.cluster->begin_receiving(NodeId{choice.a}, NodeId{choice.b}))
        state.cluster->deliver(NodeId{choice.a}, NodeId{choice.b});
      break;
    case Choice::Kind::kStep:
      step(state, choice.a);
      break;
    case Choice::Kind::kTime:
      pass_time(state);
      break;
    case Choice::Kind::kCrash:
      // What it had sent arrives; that it is cut off earlier is the same as dying earlier.
      state.crashed = true;
      state.cluster->crash(NodeId{choice.a}, [](NodeId, std::size_t in_flight) { return in_flight; });
      break;
  }
  present_ = nullptr;
}

void CoherenceExplorer::step(State& state, std::size_t index) {
  const auto& [node, operations] = exploration_.threads[index];
  ThreadState& thread = state.threads[index];
  const Operation& o = operations[thread.next];
  const auto [page, word] = o.address;
  CoherenceCluster& cluster = *state.cluster;
  if (o.kind == Operation::Kind::kUnpin) {
    cluster.unpin(node, page);
    ++thread.next;
    return;
  }
  if (!cluster.may(node, page, o.access)) {
    thread.waits = true;
    const auto outcome = cluster.fault(node, page, o.access);
    if (outcome == coherence::FaultOutcome::kLost) thread.lost = true;
    if (outcome != coherence::FaultOutcome::kPending) thread.waits = false;
    return;
  }
  switch (o.kind) {
    case Operation::Kind::kRead:
      cluster.read(node, page, word);
      break;
    case Operation::Kind::kWrite:
      cluster.write(node, page, word, o.value);
      break;
    case Operation::Kind::kAdd:
      cluster.write(node, page, word, cluster.read(node, page, word) + o.value);
      break;
    case Operation::Kind::kPin:
      cluster.pin(node, page, o.access);
      break;
    default:
      CHECK(false, "not for explorations");
  }
  ++thread.next;
}

// Up to the next deadline of any node, whose tick then comes.
void CoherenceExplorer::pass_time(State& state) {
  CoherenceCluster& cluster = *state.cluster;
  if (cluster.network().pending() != 0) ++state.early_ticks;
  std::uint64_t soonest = ~std::uint64_t{0};
  NodeId node{};
  for (std::uint16_t n = 0; n < cluster.count(); ++n) {
    const std::uint64_t deadline = cluster.core(NodeId{n}).next_deadline();
    if (cluster.alive(NodeId{n}) && deadline < soonest) soonest = deadline, node = NodeId{n};
  }
  cluster.advance_to(std::max(soonest, cluster.now()));
  cluster.tick(node);
}

bool CoherenceExplorer::is_cut(const State& state) const {
  std::uint64_t moves = 0;
  for (std::uint16_t n = 0; n < state.cluster->count(); ++n)
    moves += state.cluster->core(NodeId{n}).counters().homes_moved;
  return moves > exploration_.most_moves;
}

void CoherenceExplorer::check_end(State& state) const {
  for (std::size_t i = 0; i < state.threads.size(); ++i) {
    const ThreadState& t = state.threads[i];
    const auto& thread = exploration_.threads[i];
    if (!state.cluster->alive(thread.node) || t.lost) continue;
    CHECK(t.next == thread.operations.size(), "a thread waits for ever", exploration_.name, i, thread.node,
          state.cluster->core(thread.node).describe(thread.operations[t.next].address.page));
  }
  state.cluster->check_rest();
}

// The events that lead to a state, by doing them again.
void CoherenceExplorer::print_way_to(std::uint32_t state) {
  std::vector<Choice> way;
  for (; state != 0; state = first_way_[state].first) way.push_back(first_way_[state].second);
  exploration_.cluster.trace = true;
  State again = new_state();
  for (; !way.empty(); way.pop_back()) take(again, way.back());
}

void CoherenceExplorer::trace(std::string_view line) {
  std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
}

void CoherenceExplorer::check_every_state_can_end() {
  std::vector<bool> can_end(before_.size());
  std::vector<std::uint32_t> left = ends_;
  for (const std::uint32_t end : ends_) can_end[end] = true;
  while (!left.empty()) {
    const std::uint32_t state = left.back();
    left.pop_back();
    for (const std::uint32_t b : before_[state]) {
      if (can_end[b]) continue;
      can_end[b] = true;
      left.push_back(b);
    }
  }
  for (std::uint32_t state = 0; state < can_end.size(); ++state) {
    if (!can_end[state]) print_way_to(state);
    CHECK(can_end[state], "a state from which there is no end", exploration_.name, state);
  }
}

void CoherenceExplorer::woken(NodeId node, BlockId block, coherence::PageSet pages) {
  for (std::size_t i = 0; i < present_->threads.size(); ++i) {
    const auto& thread = exploration_.threads[i];
    ThreadState& t = present_->threads[i];
    if (thread.node != node || !t.waits) continue;
    const PageId page = thread.operations[t.next].address.page;
    if (block_of(page) == block && coherence::contains(pages, index_in_block(page))) t.waits = false;
  }
}

}  // namespace gallocy::sim
