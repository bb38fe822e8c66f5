#include "second_company.h"

#include "base/check.h"
#include "network.h"

namespace gallocy::sim {
namespace {

constexpr std::uint64_t kTickUs = 5'000;
constexpr vmm::Shard kShard{.index = 1, .of = 2};

}  // namespace

// Another node leads at first than leads the first company.
SecondCompany::SecondCompany(VmmCluster& cluster, const VmmClusterOptions& options)
    : cluster_(cluster), options_(options), prng_(options.seed * 31 + 5) {
  for (std::uint16_t n = 0; n < options.nodes; ++n)
    founders_.push_back(NodeId{static_cast<std::uint16_t>((n + 1) % options.nodes)});
  for (std::uint16_t n = 0; n < options.nodes; ++n) start(NodeId{n});
}

void SecondCompany::start(NodeId node) {
  if (node.value >= nodes_.size()) nodes_.resize(node.value + std::size_t{1});
  vmm::RaftOptions raft = options_.replication;
  raft.self = node;
  raft.incarnation = cluster_.life(node);
  raft.seed = prng_();
  raft.now = cluster_.now();
  raft.founders = founders_;
  Node& n = nodes_[node.value];
  const auto make = [&](vmm::ReplicatedState& state) -> std::unique_ptr<vmm::Replication> {
    auto replication = std::make_unique<vmm::RaftReplication>(raft, state);
    n.core = &replication->core();
    return replication;
  };
  n.log = std::make_unique<vmm::Log>(
      vmm::LogOptions{.self = node, .incarnation = cluster_.life(node), .retry_us = options_.retry_us, .shard = kShard},
      make);
  event(node, [&](vmm::Log& log, vmm::Effects& effects) { log.start(cluster_.now(), effects); });
  schedule_tick(node);
}

void SecondCompany::changed(NodeId node) {
  if (!up(node)) return;
  event(node, [&](vmm::Log& log, vmm::Effects& effects) {
    log.follow_members(cluster_.log(node).machine(), cluster_.now(), effects);
  });
}

void SecondCompany::peer_down(NodeId node, NodeId other) {
  if (!up(node)) return;
  const vmm::Life life{other, cluster_.life(other)};
  event(node, [&](vmm::Log& log, vmm::Effects& effects) { log.peer_down(life, cluster_.now(), effects); });
}

void SecondCompany::peer_up(NodeId node, NodeId other) {
  if (up(node)) log(node).peer_up({other, cluster_.life(other)});
}

void SecondCompany::propose(NodeId node, vmm::Entry entry, vmm::Ticket ticket) {
  event(node,
        [&](vmm::Log& log, vmm::Effects& effects) { log.propose(std::move(entry), ticket, cluster_.now(), effects); });
}

template <typename F>
void SecondCompany::event(NodeId node, F f) {
  vmm::Effects effects;
  f(log(node), effects);
  log(node).flush(cluster_.now(), effects);
  log(node).check_invariants();
  for (const vmm::Send& each : effects.sends) {
    for (const NodeId to : each.to) send(node, to, each);
  }
  check_agreement(node);
  for (const vmm::Resolved& resolved : effects.resolved) on_resolved(resolved.ticket, resolved.outcome);
}

void SecondCompany::schedule_tick(NodeId node) {
  cluster_.at(1 + prng_.below(kTickUs), [this, node, life = cluster_.life(node)] {
    if (!up(node) || cluster_.life(node) != life) return;
    event(node, [&](vmm::Log& log, vmm::Effects& effects) {
      if (log.next_deadline() <= cluster_.now()) log.tick(cluster_.now(), effects);
      log.follow_members(cluster_.log(node).machine(), cluster_.now(), effects);
    });
    schedule_tick(node);
  });
}

void SecondCompany::send(NodeId from, NodeId to, const vmm::Send& send) {
  CHECK(send.body.size() <= wire::kMaxBodyBytes, send.body.size());
  if (to.value >= cluster_.nodes()) return;  // admitted, and not there yet
  if (cluster_.is_cut(from, to) || prng_.below(1000) < options_.loss_permille) return;
  const std::uint64_t life_from = cluster_.life(from), life_to = cluster_.life(to);
  std::uint64_t& last = last_arrival_[{from, life_from, to, life_to}];
  last = std::max(last, cluster_.now() + 1 + prng_.below(options_.delay_us));
  cluster_.at(last - cluster_.now(), [this, from, to, life_from, life_to, type = send.type, body = send.body] {
    if (!up(to) || cluster_.life(to) != life_to || cluster_.life(from) != life_from) return;
    if (cluster_.parted(to, from)) return;
    digest_ = mix(digest_, cluster_.now() * 1000 + from.value * 31 + to.value);
    event(to, [&](vmm::Log& log, vmm::Effects& effects) {
      const auto taken = log.message(from, type, body, cluster_.now(), effects);
      CHECK(taken.has_value(), taken.error().message);
    });
  });
}

void SecondCompany::check_agreement(NodeId node) {
  const std::uint64_t digest = log(node).digest();
  const auto [known, first] = digests_.try_emplace(log(node).machine().applied(), digest);
  CHECK(first || known->second == digest, "two states of the second shard after one number of entries", node,
        known->first);
  digest_ = mix(digest_, digest);
}

}  // namespace gallocy::sim
