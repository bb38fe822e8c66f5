#include "vmm_cluster.h"

#include "base/check.h"
#include "network.h"
#include "raft_disk.h"

namespace gallocy::sim {
namespace {

constexpr std::uint64_t kTickUs = 5'000;
constexpr std::uint64_t kAskAgainUs = 50'000;
constexpr std::uint64_t kSilenceUs = 1'000'000;
constexpr std::uint64_t kExpelUs = 200'000;
constexpr std::uint64_t kLeaveUs = 10'000'000;  // who leaves does not wait for ever
constexpr std::uint64_t kEndNewsUs = 20'000;

}  // namespace

VmmCluster::VmmCluster(const VmmClusterOptions& options)
    : options_(options), prng_(options.seed), nodes_(options.nodes) {
  for (std::uint16_t n = 0; n < options.nodes; ++n) found(NodeId{n});
}

void VmmCluster::found(NodeId node) {
  nodes_[node.value].life = 1;
  start(node);
  nodes_[node.value].joining = fresh_ticket();
  propose(node, vmm::MemberJoined{.node = node, .address = "here", .on_disk = has_disk(node)},
          nodes_[node.value].joining);
  if (options_.disks) propose_life(node, node);  // that fails where a majority is down, and comes back
}

template <typename F>
void VmmCluster::event(NodeId node, F f) {
  vmm::Effects effects;
  f(log(node), effects);
  log(node).flush(now_, effects);
  log(node).check_invariants();
  carry_out(node, effects);
  if (up(node)) check_agreement(node);
  if (up(node) && on_change) on_change(node);
}

void VmmCluster::start(NodeId node) {
  Node& n = nodes_[node.value];
  vmm::RaftOptions raft = options_.replication;
  raft.self = node;
  raft.incarnation = options_.bug == DriverBug::kSameServerAgain ? 1 : n.life;
  raft.seed = prng_();
  raft.now = now_;
  for (std::uint16_t i = 0; i < options_.nodes; ++i) raft.founders.push_back(NodeId{i});
  if (has_disk(node)) {
    raft.core.storage = raft::Storage::kDurable;
    if (n.life > 1) raft.found = n.disk;
    if (n.life == 1) n.disk = vmm::first_state(raft);
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
                      .retry_us = options_.retry_us,
                      .shard = options_.shard},
      make);
  n.followed = LogIndex{};
  n.joined = n.leaving = false;
  n.believed_down.clear();
  if (on_start) on_start(node);
  event(node, [&](vmm::Log& log, vmm::Effects& effects) { log.start(now_, effects); });
  schedule_tick(node);
  for (std::uint16_t i = 0; i < nodes(); ++i) miss_later(node, NodeId{i});
}

// A newcomer finds members that were gone before it came, silent from the beginning.
void VmmCluster::miss_later(NodeId node, NodeId other) {
  if (node == other || up(other) || nodes_[other.value].life == 0) return;
  at(kSilenceUs, [this, self = nodes_[node.value].life, node, of = vmm::Life{other, nodes_[other.value].life}] {
    const bool same = nodes_[node.value].life == self && nodes_[of.node.value].life == of.life;
    if (same && up(node) && !up(of.node)) hear_of_end(node, of);
  });
}

// Its connections are new, and it says in which life it is. Who has not heard of that life proposes it, until the log
// has it: its own log may be too old for it to be heard.
void VmmCluster::restart(NodeId node) {
  Node& n = nodes_[node.value];
  ++n.life;
  n.newcomer = ++last_newcomer_;
  n.proposed.clear();
  for (std::uint16_t i = 0; i < nodes(); ++i) {
    last_arrival_.erase({NodeId{i}, node});
    last_arrival_.erase({node, NodeId{i}});
    if (NodeId{i} == node || !up(NodeId{i})) continue;
    nodes_[i].believed_down.erase(node);
    log(NodeId{i}).peer_up({node, n.life});
  }
  start(node);
  for (std::uint16_t i = 0; i < nodes(); ++i) propose_life(NodeId{i}, node);
}

void VmmCluster::propose_life(NodeId by, NodeId node) {
  at(prng_.below(kAskAgainUs), [this, by, node, life = nodes_[node.value].life] {
    Node& n = nodes_[node.value];
    if (!up(node) || n.life != life || n.joined) return;
    const bool knows = up(by) && !cut_.contains({node, by});
    if (knows && log(by).machine().standing({node, life}) == vmm::Standing::kUnknown) {
      auto& [proposer, ticket] = n.proposed[by];
      if (proposer != nodes_[by.value].life || !open_.contains(ticket)) {
        proposer = nodes_[by.value].life, ticket = fresh_ticket();
        propose(by, vmm::MemberJoined{node, "there", life, n.newcomer, {}, has_disk(node)}, ticket);
      }
    }
    propose_life(by, node);
  });
}

void VmmCluster::arrive(NodeId wanted) {
  const std::uint64_t newcomer = ++last_newcomer_;
  arriving_[newcomer] = {wanted, wanted == kNoNode ? 0 : nodes_[wanted.value].life + 1};
  ask(newcomer);
}

// Any member, and another one if that one ends or cannot. A slow log must not be kept busy by the asking.
void VmmCluster::ask(std::uint64_t newcomer) {
  at(prng_.below(options_.delay_us) + 1, [this, newcomer] {
    if (!arriving_.contains(newcomer)) return;
    std::vector<NodeId> members;
    for (std::uint16_t n = 0; n < nodes(); ++n) {
      if (up(NodeId{n}) && nodes_[n].joined && !nodes_[n].leaving) members.push_back(NodeId{n});
    }
    Newcomer& n = arriving_.at(newcomer);
    const bool waits =
        up(n.contact.node) && nodes_[n.contact.node.value].life == n.contact.life && open_.contains(n.asked);
    if (!members.empty() && !waits) {
      const NodeId contact = members[prng_.below(members.size())];
      n.contact = {contact, nodes_[contact.value].life};
      n.asked = fresh_ticket();
      propose(contact,
              vmm::MemberJoined{n.wanted, "there", n.life, newcomer, {}, options_.disks && !options_.newcomers_forget},
              n.asked);
    }
    at(kAskAgainUs, [this, newcomer] {
      if (arriving_.contains(newcomer)) ask(newcomer);
    });
  });
}

void VmmCluster::admitted(std::uint64_t newcomer, const vmm::Outcome& outcome) {
  arriving_.erase(newcomer);
  const NodeId node = outcome.node;
  if (node.value >= nodes_.size()) nodes_.resize(node.value + std::size_t{1});
  Node& n = nodes_[node.value];
  if (n.life >= outcome.life) return;  // it took too long: it is dead already, and another came in its place
  CHECK(!up(node), node);
  n.life = outcome.life;
  for (std::uint16_t i = 0; i < nodes(); ++i) {
    last_arrival_.erase({NodeId{i}, node});
    last_arrival_.erase({node, NodeId{i}});
    if (NodeId{i} == node || !up(NodeId{i})) continue;
    nodes_[i].believed_down.erase(node);
    log(NodeId{i}).peer_up({node, n.life});
  }
  start(node);
  for (std::uint16_t i = 0; i < nodes() && on_peer_up; ++i) {
    if (NodeId{i} != node && up(NodeId{i})) on_peer_up(NodeId{i}, node);
  }
}

// Who was declared dead does not get the log any more. It is told by those who do, when it says that it lives.
void VmmCluster::expel(NodeId by, const vmm::Life& dead) {
  at(1 + prng_.below(kExpelUs), [this, by, by_life = nodes_[by.value].life, dead] {
    if (!up(dead.node) || nodes_[dead.node.value].life != dead.life) return;
    if (!up(by) || nodes_[by.value].life != by_life) return;
    if (cut_.contains({by, dead.node}) || cut_.contains({dead.node, by})) return expel(by, dead);
    crash(dead.node);
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
  n.joined = false;
  const std::size_t survive = n.writes.empty() ? 0 : prng_.below(n.writes.size() + 1);
  for (std::size_t i = 0; i < survive; ++i) write(n.disk, n.writes[i]);
  n.writes.clear();
  const bool tells_itself = ends_its_links && ends_its_links(node);
  if (on_end) on_end(node);
  if (tells_itself) return;
  for (std::uint16_t i = 0; i < nodes(); ++i) {
    at(prng_.below(kEndNewsUs), [this, i, node, life = n.life] {
      if (nodes_[node.value].life == life && up(NodeId{i})) hear_of_end(NodeId{i}, {node, life});
    });
  }
}

void VmmCluster::leave(NodeId node) {
  nodes_[node.value].leaving = true;
  propose(node, vmm::MemberLeft{node}, fresh_ticket());
  at(kLeaveUs, [this, node, life = nodes_[node.value].life] {
    if (up(node) && nodes_[node.value].life == life) end_soon(node);
  });
}

void VmmCluster::part(NodeId one, NodeId other) {
  const vmm::Life a{one, nodes_[one.value].life}, b{other, nodes_[other.value].life};
  hear_of_end(one, b);
  at(prng_.below(kEndNewsUs), [this, a, b] {
    if (up(b.node) && nodes_[b.node.value].life == b.life && nodes_[a.node.value].life == a.life)
      hear_of_end(b.node, a);
  });
}

void VmmCluster::hear_of_end(NodeId node, const vmm::Life& of) {
  if (!nodes_[node.value].believed_down.insert(of.node).second) return;
  if (on_peer_down) on_peer_down(node, of.node);
  event(node, [&](vmm::Log& log, vmm::Effects& effects) { log.peer_down(of, now_, effects); });
}

// Who left goes when it is not needed, who is declared dead at once.
void VmmCluster::end_if_gone(NodeId node) {
  const Node& n = nodes_[node.value];
  const vmm::Standing standing = n.log->machine().standing({node, n.life});
  const bool waits = n.log->votes() || (is_needed && is_needed(node));
  const bool may_leave = !waits || n.log->machine().members().empty() || options_.bug == DriverBug::kLeaveAtOnce;
  if (standing == vmm::Standing::kOver || (standing == vmm::Standing::kLeft && may_leave)) end_soon(node);
}

void VmmCluster::end_soon(NodeId node) {
  at(prng_.below(options_.delay_us), [this, node, life = nodes_[node.value].life] {
    if (up(node) && nodes_[node.value].life == life) crash(node);
  });
}

void VmmCluster::send(NodeId from, NodeId to, const vmm::Send& send) {
  CHECK(send.body.size() <= wire::kMaxBodyBytes, send.body.size());
  if (to.value >= nodes_.size()) return;  // admitted, and not there yet
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
    if (on_restored) on_restored(node);
  }
  for (const vmm::Applied& applied : effects.applied) {
    CHECK(applied.index > n.followed, applied.index, n.followed);
    n.followed = applied.index;
    const auto dead = applied.outcome ? vmm::buried(applied.entry, *applied.outcome) : std::nullopt;
    if (dead) expel(node, *dead);
    if (on_applied && applied.outcome) on_applied(node, applied);
  }
  for (const raft::Persist& persist : effects.persist) begin_write(node, persist);
  for (const vmm::Send& each : effects.sends) {
    for (const NodeId to : each.to) send(node, to, each);
  }
  n.joined = n.log->machine().standing({node, n.life}) == vmm::Standing::kPresent;
  end_if_gone(node);
  for (const vmm::Resolved& resolved : effects.resolved) {
    const auto open = open_.find(resolved.ticket);
    CHECK(open != open_.end(), "resolved twice", resolved.ticket);
    const std::string name = open->second;
    open_.erase(open);
    // No name is bound twice or unbound before its proposer knows that it is bound.
    if (resolved.outcome && !name.empty()) CHECK(n.log->machine().binding(name) != nullptr, name, node);
    for (auto arriving = arriving_.begin(); arriving != arriving_.end();) {
      const auto& [newcomer, wish] = *arriving++;
      if (wish.asked != resolved.ticket) continue;
      at(1 + prng_.below(options_.delay_us), [this, newcomer = newcomer, outcome = resolved.outcome] {
        if (arriving_.contains(newcomer) && outcome) admitted(newcomer, *outcome);
      });
    }
    if (on_resolved) on_resolved(resolved.ticket, resolved.outcome);
  }
}

void VmmCluster::begin_write(NodeId node, const raft::Persist& persist) {
  Node& n = nodes_[node.value];
  n.writes.push_back(persist);
  n.disk_busy_until = std::max(now_, n.disk_busy_until) + 1 + prng_.below(options_.write_us);
  at(n.disk_busy_until - now_, [this, node, life = n.life] {
    if (up(node) && nodes_[node.value].life == life) end_write(node);
  });
  if (options_.bug != DriverBug::kWrittenEarly) return;
  at(1, [this, node, life = n.life, sequence = persist.sequence] {
    if (up(node) && nodes_[node.value].life == life) report_written(node, sequence);
  });
}

void VmmCluster::end_write(NodeId node) {
  Node& n = nodes_[node.value];
  const std::uint64_t sequence = n.writes.front().sequence;
  write(n.disk, n.writes.front());
  n.writes.pop_front();
  if (options_.bug != DriverBug::kWrittenEarly) report_written(node, sequence);
}

void VmmCluster::report_written(NodeId node, std::uint64_t sequence) {
  event(node, [&](vmm::Log& log, vmm::Effects& effects) { log.persisted(sequence, now_, effects); });
}

void VmmCluster::check_agreement(NodeId node) {
  const std::uint64_t digest = log(node).digest();
  const auto [known, first] = digests_.try_emplace(log(node).machine().applied(), digest);
  CHECK(first || known->second == digest, "two states after one number of entries", node, known->first);
  digest_ = mix(digest_, digest);
}

}  // namespace gallocy::sim
