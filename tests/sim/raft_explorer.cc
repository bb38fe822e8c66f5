#include "raft_explorer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "network.h"

namespace gallocy::sim {
namespace {

// Longer than any promise or timeout.
constexpr std::uint64_t kLongUs = 1'000'000;

raft::ServerId server(std::size_t node) { return raft::server_id(NodeId(static_cast<std::uint16_t>(node)), 1); }

}  // namespace

RaftExplorer::RaftExplorer(const RaftExploration& exploration) : exploration_(exploration) {}

RaftExplorer::State RaftExplorer::start() const {
  State state;
  raft::Configuration founders;
  for (std::size_t node = 0; node < exploration_.nodes; ++node) founders.voters.insert(server(node));
  for (std::size_t node = 0; node < exploration_.nodes; ++node) {
    raft::Options options{.self = server(node), .batch_bytes = 1};
    options.mutant = exploration_.mutant;
    state.cores.emplace_back(options, raft::PersistentState::founding(founders), node, 0);
  }
  state.links.resize(std::size_t{exploration_.nodes} * exploration_.nodes);
  return state;
}

RaftExplorationReport RaftExplorer::run() {
  path_.reserve(1000);
  path_.push_back(start());
  visit(0);
  report_.states = known_.size();
  return report_;
}

void RaftExplorer::visit(std::size_t depth) {
  if (report_.violation || !known_.insert(digest(path_[depth])).second) return;
  CHECK(known_.size() <= exploration_.most_states, "too many states", exploration_.name);
  const std::vector<Choice> possible = choices(path_[depth]);
  report_.ends += possible.empty();
  CHECK(depth + 1 < path_.capacity(), "too deep", exploration_.name);
  for (const Choice& choice : possible) {
    if (path_.size() == depth + 1) path_.push_back(path_[depth]);
    path_[depth + 1] = path_[depth];
    take(path_[depth + 1], choice);
    ++report_.steps;
    check(path_[depth + 1]);
    visit(depth + 1);
    if (report_.violation) return;
  }
}

std::vector<RaftExplorer::Choice> RaftExplorer::choices(const State& state) const {
  using Kind = Choice::Kind;
  std::vector<Choice> possible;
  for (std::size_t link = 0; link < state.links.size(); ++link) {
    if (state.links[link].empty()) continue;
    possible.push_back({Kind::kDeliver, link});
    if (state.losses < exploration_.losses) possible.push_back({Kind::kLose, link});
  }
  for (std::size_t node = 0; node < state.cores.size(); ++node) {
    const bool leads = state.cores[node].role() == raft::Role::kLeader;
    if (state.timeouts < exploration_.timeouts) possible.push_back({Kind::kTimeOut, node});
    if (leads && state.proposals < exploration_.proposals) possible.push_back({Kind::kPropose, node});
    for (std::size_t whom = 0; leads && state.removals < exploration_.removals && whom < state.cores.size(); ++whom)
      possible.push_back({Kind::kRemove, node, whom});
  }
  return possible;
}

void RaftExplorer::take(State& state, const Choice& choice) {
  switch (choice.kind) {
    case Choice::Kind::kDeliver:
      return deliver(state, choice.what);
    case Choice::Kind::kLose:
      ++state.losses;
      state.links[choice.what].pop_front();
      return;
    case Choice::Kind::kTimeOut:
      ++state.timeouts;
      state.now += kLongUs;
      state.cores[choice.what].tick(state.now);
      break;
    case Choice::Kind::kPropose:
      ++state.proposals;
      (void)state.cores[choice.what].propose(raft::Bytes(1, static_cast<std::byte>(state.proposals)));
      break;
    case Choice::Kind::kRemove:
      ++state.removals;
      (void)state.cores[choice.what].change({raft::Change::Kind::kRemove, server(choice.whom)}, state.now);
      break;
  }
  settle(state, state.cores[choice.what]);
}

void RaftExplorer::deliver(State& state, std::size_t link) {
  const raft::Message message = std::move(state.links[link].front());
  state.links[link].pop_front();
  if (std::holds_alternative<raft::VoteRequest>(message.what)) state.now += kLongUs;
  raft::Core& core = state.cores[link % exploration_.nodes];
  if (!core.message(message, state.now)) return violated("a message that contradicts the server's state");
  settle(state, core);
}

void RaftExplorer::settle(State& state, raft::Core& core) {
  core.flush(state.now);
  raft::Effects effects = core.take_effects();
  for (raft::Message& m : effects.messages) {
    const std::size_t link = node_of(m.from).value * std::size_t{exploration_.nodes} + node_of(m.to).value;
    state.links[link].push_back(std::move(m));
  }
  for (const raft::Committed& c : effects.committed) {
    const auto [known, is_new] = state.committed.emplace(c.index, Fact{c.entry.term, core.term()});
    if (known->second.term != c.entry.term) violated(fmt::format("two entries committed at {}", c.index));
  }
  if (core.role() != raft::Role::kLeader) return;
  const auto [leader, is_new] = state.leaders.emplace(core.term(), core.self());
  if (leader->second != core.self()) violated(fmt::format("two leaders of term {}", core.term()));
}

void RaftExplorer::check(const State& state) {
  report_.most_terms = std::max<std::uint64_t>(report_.most_terms, state.leaders.size());
  report_.most_committed = std::max<std::uint64_t>(report_.most_committed, state.committed.size());
  for (const raft::Core& core : state.cores) {
    core.check_invariants();
    if (core.role() == raft::Role::kLeader) check_leader(state, core);
    for (const raft::Core& other : state.cores) {
      if (other.self() < core.self()) check_match(core, other);
    }
  }
}

void RaftExplorer::check_leader(const State& state, const raft::Core& core) {
  for (const auto& [index, fact] : state.committed) {
    if (fact.in_term < core.term() && !core.log().matches(index, fact.term))
      violated(fmt::format("the leader of term {} lacks entry {}", core.term(), index));
  }
}

void RaftExplorer::check_match(const raft::Core& a, const raft::Core& b) {
  bool equal = false;
  for (LogIndex i = std::min(a.log().last(), b.log().last()); i > LogIndex{}; --i.value) {
    const bool same = a.log().term_at(i) == b.log().term_at(i);
    if (equal && !same) violated(fmt::format("two logs part at {} and meet again", i));
    equal |= same;
  }
}

void RaftExplorer::violated(const std::string& what) {
  if (!report_.violation) report_.violation = what;
}

std::uint64_t RaftExplorer::digest(const State& state) const {
  std::uint64_t sum = state.timeouts | state.proposals << 8 | state.losses << 16 | std::uint64_t{state.removals} << 24;
  for (const raft::Core& core : state.cores) sum = mix(sum, core.digest());
  for (const auto& link : state.links) {
    sum = mix(sum, link.size());
    for (const raft::Message& m : link) {
      for (const std::byte b : raft::encode(m)) sum = sum * 0x100000001b3 ^ std::to_integer<std::uint64_t>(b);
      sum = mix(sum, m.what.index());
    }
  }
  for (const auto& [term, leader] : state.leaders) sum = mix(sum, term.value << 8 ^ leader.value);
  for (const auto& [index, fact] : state.committed)
    sum = mix(sum, index.value << 32 ^ fact.term.value << 16 ^ fact.in_term.value);
  return sum;
}

}  // namespace gallocy::sim
