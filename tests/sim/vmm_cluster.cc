#include "vmm_cluster.h"

#include "base/check.h"
#include "network.h"

namespace gallocy::sim {
namespace {

constexpr std::uint64_t kTickUs = 5'000;
constexpr std::uint64_t kJoinAgainUs = 50'000;
constexpr std::uint64_t kCrashNewsUs = 20'000;

}  // namespace

VmmCluster::VmmCluster(const VmmClusterOptions& options)
    : options_(options), prng_(options.seed), nodes_(options.nodes) {
  for (std::uint16_t n = 0; n < options.nodes; ++n) start(NodeId{n});
}

template <typename F>
void VmmCluster::event(NodeId node, F f) {
  vmm::Effects effects;
  f(log(node), effects);
  log(node).flush(now_, effects);
  log(node).check_invariants();
  carry_out(node, effects);
  if (up(node)) check_agreement(node);
}

void VmmCluster::start(NodeId node) {
  Node& n = nodes_[node.value];
  vmm::RaftOptions raft = options_.replication;
  raft.self = node;
  raft.incarnation = options_.bug == DriverBug::kSameServerAgain ? 1 : n.life;
  raft.seed = prng_();
  raft.now = now_;
  for (std::uint16_t i = 0; i < nodes(); ++i) {
    raft.founders.push_back(NodeId{i});
    if (NodeId{i} != node) raft.peers.push_back(NodeId{i});
  }
  // The keeper's log is not made for nodes that come back; its tests let none do so.
  const auto make = [&](vmm::ReplicatedState& state) -> std::unique_ptr<vmm::Replication> {
    if (!options_.raft)
      return std::make_unique<vmm::KeeperReplication>(
          vmm::KeeperOptions{.self = node, .keeper = NodeId{0}, .tail_records = 5, .subscribe_us = 100'000}, state);
    auto replication = std::make_unique<vmm::RaftReplication>(raft, state);
    n.core = &replication->core();
    return replication;
  };
  n.log = std::make_unique<vmm::Log>(
      vmm::LogOptions{.self = node,
                      .incarnation = options_.bug == DriverBug::kSameRequestsAgain ? 1 : n.life,
                      .retry_us = options_.retry_us},
      make);
  n.followed = LogIndex{};
  n.joined = false;
  n.believed_down.clear();
  for (std::uint16_t i = 0; i < nodes() && n.life > 1; ++i) {
    if (NodeId{i} != node && !up(NodeId{i})) hear_of_crash(node, NodeId{i});
  }
  event(node, [&](vmm::Log& log, vmm::Effects& effects) { log.start(now_, effects); });
  schedule_tick(node);
  join(node);
}

// Until it is a member. A life that is declared dead meanwhile is over: it does not come back as the same.
void VmmCluster::join(NodeId node) {
  const std::uint64_t life = nodes_[node.value].life;
  nodes_[node.value].joining = fresh_ticket();
  propose(node, vmm::MemberJoined{node, "here", life}, nodes_[node.value].joining);
}

void VmmCluster::join_again_later(NodeId node) {
  const std::uint64_t life = nodes_[node.value].life;
  at(kJoinAgainUs, [this, node, life] {
    if (up(node) && nodes_[node.value].life == life && !nodes_[node.value].joined) join(node);
  });
}

void VmmCluster::schedule_tick(NodeId node) {
  const std::uint64_t life = nodes_[node.value].life;
  at(1 + prng_.below(kTickUs), [this, node, life] {
    if (!up(node) || nodes_[node.value].life != life) return;
    if (log(node).next_deadline() <= now_)
      event(node, [&](vmm::Log& log, vmm::Effects& effects) { log.tick(now_, effects); });
    schedule_tick(node);
  });
}

void VmmCluster::propose(NodeId node, vmm::Entry entry, vmm::Ticket ticket) {
  const auto* bind = std::get_if<vmm::BindName>(&entry);
  open_[ticket] = bind != nullptr ? bind->name : "";
  event(node, [&](vmm::Log& log, vmm::Effects& effects) { log.propose(std::move(entry), ticket, now_, effects); });
}

void VmmCluster::run_for(std::uint64_t us) {
  const std::uint64_t until = now_ + us;
  while (!agenda_.empty() && agenda_.begin()->first <= until) {
    auto next = agenda_.extract(agenda_.begin());
    now_ = std::max(now_, next.key());
    next.mapped()();
  }
  now_ = until;
}

void VmmCluster::crash(NodeId node) {
  Node& n = nodes_[node.value];
  n.log.reset();
  n.core = nullptr;
  for (std::uint16_t i = 0; i < nodes(); ++i) {
    at(prng_.below(kCrashNewsUs), [this, i, node, life = n.life] {
      if (nodes_[node.value].life == life && up(NodeId{i})) hear_of_crash(NodeId{i}, node);
    });
  }
}

void VmmCluster::hear_of_crash(NodeId node, NodeId of) {
  if (!nodes_[node.value].believed_down.insert(of).second) return;
  event(node, [&](vmm::Log& log, vmm::Effects& effects) { log.peer_down(of, now_, effects); });
}

void VmmCluster::restart(NodeId node) {
  Node& n = nodes_[node.value];
  CHECK(!up(node), node);
  n.life = ++last_life_;
  for (std::uint16_t i = 0; i < nodes(); ++i) {
    last_arrival_.erase({NodeId{i}, node});
    last_arrival_.erase({node, NodeId{i}});
    if (NodeId{i} == node || !up(NodeId{i})) continue;
    hear_of_crash(NodeId{i}, node);  // at the latest when it connects again
    nodes_[i].believed_down.erase(node);
    log(NodeId{i}).peer_up(node);
  }
  start(node);
}

void VmmCluster::send(NodeId from, NodeId to, const vmm::Send& send) {
  CHECK(send.body.size() <= wire::kMaxBodyBytes, send.body.size());
  if (cut_.contains({from, to}) || prng_.below(1000) < options_.loss_permille) return;
  std::uint64_t& last = last_arrival_[{from, to}];
  last = std::max(last, now_ + 1 + prng_.below(options_.delay_us));
  const std::uint64_t life_from = nodes_[from.value].life, life_to = nodes_[to.value].life;
  at(last - now_, [this, from, to, life_from, life_to, type = send.type, body = send.body] {
    if (!up(to) || nodes_[to.value].life != life_to || nodes_[from.value].life != life_from) return;
    if (nodes_[to.value].believed_down.contains(from)) return;
    digest_ = mix(digest_, now_ * 1000 + from.value * 31 + to.value);
    event(to, [&](vmm::Log& log, vmm::Effects& effects) {
      const auto taken = log.message(from, type, body, now_, effects);
      CHECK(taken.has_value(), taken.error().message);
    });
  });
}

void VmmCluster::carry_out(NodeId node, const vmm::Effects& effects) {
  Node& n = nodes_[node.value];
  if (effects.restored) {
    ++restores_;
    n.followed = n.log->machine().applied();
  }
  for (const vmm::Applied& applied : effects.applied) {
    CHECK(applied.index > n.followed, applied.index, n.followed);
    n.followed = applied.index;
  }
  for (const vmm::Send& each : effects.sends) {
    for (const NodeId to : each.to) send(node, to, each);
  }
  const vmm::Member* self = n.log->machine().member(node);
  n.joined = self != nullptr && self->state == vmm::MemberState::kPresent && self->life == n.life;
  for (const vmm::Resolved& resolved : effects.resolved) {
    const auto open = open_.find(resolved.ticket);
    CHECK(open != open_.end(), "resolved twice", resolved.ticket);
    const std::string name = open->second;
    open_.erase(open);
    // No name is bound twice or unbound before its proposer knows that it is bound.
    if (resolved.outcome && !name.empty()) CHECK(n.log->machine().binding(name) != nullptr, name, node);
    if (resolved.ticket == n.joining && !n.joined) join_again_later(node);
    if (on_resolved) on_resolved(resolved.ticket, resolved.outcome);
  }
}

void VmmCluster::check_agreement(NodeId node) {
  const std::uint64_t digest = log(node).digest();
  const auto [known, first] = digests_.try_emplace(log(node).machine().applied(), digest);
  CHECK(first || known->second == digest, "two states after one number of entries", node, known->first);
  digest_ = mix(digest_, digest);
}

}  // namespace gallocy::sim
