#include "raft_cluster.h"

#include <algorithm>
#include <cstdio>

#include "base/check.h"
#include "raft_disk.h"

namespace gallocy::sim {
namespace {

constexpr std::uint64_t kTickUs = 7000;

std::string describe(const raft::Message& m) {
  if (const auto* a = std::get_if<raft::Append>(&m.what))
    return fmt::format("prev {} ({}) + {} commit {} round {}", a->prev, a->prev_term, a->entries.size(), a->commit,
                       a->round);
  if (const auto* r = std::get_if<raft::AppendReply>(&m.what))
    return fmt::format("{} {} hint {} ({})", r->accepted ? "accepted" : "refused", r->index, r->hint, r->hint_term);
  if (const auto* v = std::get_if<raft::VoteRequest>(&m.what))
    return fmt::format("{} last {} ({})", v->ballot == raft::Ballot::kPreVote ? "pre" : "", v->last_index,
                       v->last_term);
  if (const auto* v = std::get_if<raft::VoteReply>(&m.what)) return v->granted ? "granted" : "not granted";
  if (const auto* c = std::get_if<raft::SnapshotChunk>(&m.what))
    return fmt::format("index {} from {} of {}", c->index, c->offset, c->total_bytes);
  if (const auto* r = std::get_if<raft::SnapshotReply>(&m.what))
    return fmt::format("index {} has {}", r->index, r->received);
  return {};
}

const char* name_of(const raft::Message& m) {
  static constexpr const char* kNames[] = {"vote",     "vote_reply",     "append",     "append_reply",
                                           "snapshot", "snapshot_reply", "timeout_now"};
  return kNames[m.what.index()];
}

}  // namespace

RaftCluster::RaftCluster(const RaftClusterOptions& options)
    : options_(options),
      prng_(options.seed),
      servers_(options.nodes),
      cut_(std::size_t{options.nodes} * options.nodes) {
  raft::Configuration founders;
  for (std::uint16_t node = 0; node < options.founders; ++node)
    founders.voters.insert(raft::server_id(NodeId{node}, 1));
  for (std::uint16_t node = 0; node < nodes(); ++node) {
    Server& server = servers_[node];
    server.id = raft::server_id(NodeId{node}, 1);
    if (options.drift_permille != 0)
      server.rate_permille = 1000 - options.drift_permille + prng_.below(2 * options.drift_permille + 1);
    if (node < options.founders) server.disk = raft::PersistentState::founding(founders);
    start(node);
  }
}

std::uint64_t RaftCluster::clock(std::uint16_t node) const {
  return now_ * servers_[node].rate_permille / 1000 + servers_[node].skipped;
}

std::optional<std::uint16_t> RaftCluster::leader() const {
  std::optional<std::uint16_t> found;
  for (std::uint16_t node = 0; node < nodes(); ++node) {
    const auto& core = servers_[node].core;
    if (core == nullptr || core->role() != raft::Role::kLeader) continue;
    if (!found || servers_[*found].core->term() < core->term()) found = node;
  }
  return found;
}

void RaftCluster::at(std::uint64_t delay_us, std::function<void()> what) {
  agenda_.emplace(now_ + delay_us, std::move(what));
}

void RaftCluster::run_for(std::uint64_t us) {
  const std::uint64_t until = now_ + us;
  while (!agenda_.empty() && agenda_.begin()->first <= until) {
    auto next = agenda_.extract(agenda_.begin());
    now_ = std::max(now_, next.key());
    next.mapped()();
  }
  now_ = until;
}

void RaftCluster::isolate(std::uint16_t node) {
  for (std::uint16_t other = 0; other < nodes(); ++other) {
    if (other == node) continue;
    cut(node, other);
    cut(other, node);
  }
}

void RaftCluster::make_network_perfect() {
  mend_all();
  options_.loss_permille = options_.repeat_permille = 0;
  options_.long_delay_us = options_.delay_us;
}

void RaftCluster::start(std::uint16_t node) {
  Server& server = servers_[node];
  raft::Options options = options_.core;
  options.self = server.id;
  server.core = std::make_unique<raft::Core>(options, server.disk, prng_(), clock(node));
  server.machine = {};
  server.writes.clear();
  ++server.life;
  checker_.restarted(server.id);
  finish_step(node);
  if (options_.automatic) schedule_tick(node);
}

void RaftCluster::crash(std::uint16_t node) {
  log(fmt::format("node {} crashes", node));
  Server& server = servers_[node];
  // What was under way may have reached the disk, in order.
  const std::size_t survive = server.writes.empty() ? 0 : prng_.below(server.writes.size() + 1);
  for (std::size_t i = 0; i < survive; ++i) write(server.disk, server.writes[i]);
  server.writes.clear();
  server.core.reset();
  ++server.life;
  digest_ = mix(digest_, node);
}

void RaftCluster::restart(std::uint16_t node) {
  Server& server = servers_[node];
  if (options_.core.storage == raft::Storage::kVolatile) {
    server.id = raft::server_id(NodeId{node}, ++server.incarnation);
    server.disk = {};
  }
  log(fmt::format("node {} starts as server {:x}", node, server.id.value));
  start(node);
}

void RaftCluster::schedule_tick(std::uint16_t node) {
  at(kTickUs / 2 + prng_.below(kTickUs), [this, node, life = servers_[node].life] {
    if (servers_[node].life != life) return;
    if (clock(node) >= core(node).next_deadline())
      step(node, [](raft::Core& core, std::uint64_t now) { core.tick(now); });
    schedule_tick(node);
  });
}

void RaftCluster::finish_step(std::uint16_t node) {
  Server& server = servers_[node];
  const std::uint64_t before = checker_.elections();
  server.core->flush(clock(node));
  ++events_;
  carry_out(node, server.core->take_effects());
  checker_.observe(*server.core);
  digest_ = mix(digest_, server.core->digest());
  if (checker_.elections() != before) log(fmt::format("node {} leads term {}", node, server.core->term()));
}

void RaftCluster::carry_out(std::uint16_t node, raft::Effects effects) {
  Server& server = servers_[node];
  if (effects.persist) begin_write(node, *std::move(effects.persist));
  if (effects.restore) {
    ++restores_;
    server.machine = RegisterMachine::restore(*effects.restore);
    checker_.state(server.machine.applied(), server.machine.digest());
  }
  for (const raft::Committed& c : effects.committed) {
    checker_.committed(*server.core, c);
    const bool success = server.machine.apply(c.index, c.entry);
    checker_.state(c.index, server.machine.digest());
    if (on_applied) on_applied(node, c, success);
  }
  for (const raft::Message& message : effects.messages) send(message);
  for (const raft::ReadReady& read : effects.reads) {
    if (on_read) on_read(node, read);
  }
  const LogIndex applied = server.machine.applied();
  if (options_.snapshot_every == 0 || applied.value < server.core->snapshot().index.value + options_.snapshot_every)
    return;
  server.core->snapshot_taken(applied, server.machine.snapshot());
  carry_out(node, server.core->take_effects());
}

void RaftCluster::begin_write(std::uint16_t node, raft::Persist persist) {
  Server& server = servers_[node];
  server.writes.push_back(std::move(persist));
  if (!options_.automatic) return;
  const std::uint64_t begins = std::max(now_, server.disk_busy_until);
  server.disk_busy_until = begins + (options_.write_us == 0 ? 0 : prng_.below(options_.write_us));
  at(server.disk_busy_until - now_, [this, node, life = server.life] {
    if (servers_[node].life == life) end_write(node);
  });
}

void RaftCluster::end_write(std::uint16_t node) {
  Server& server = servers_[node];
  write(server.disk, server.writes.front());
  const std::uint64_t sequence = server.writes.front().sequence;
  server.writes.erase(server.writes.begin());
  step(node, [&](raft::Core& core, std::uint64_t now) { core.persisted(sequence, now); });
}

void RaftCluster::send(const raft::Message& message) {
  const std::size_t link = node_of(message.from).value * servers_.size() + node_of(message.to).value;
  if (!options_.automatic) {
    in_flight_.push_back(message);
    return;
  }
  if (cut_[link] || prng_.below(1000) < options_.loss_permille) return;
  const unsigned copies = prng_.below(1000) < options_.repeat_permille ? 2 : 1;
  for (unsigned i = 0; i < copies; ++i) {
    const std::uint64_t most = prng_.one_in(10) ? options_.long_delay_us : options_.delay_us;
    at(1 + prng_.below(most), [this, message, link] {
      if (!cut_[link]) hand_over(message);
    });
  }
}

void RaftCluster::hand_over(const raft::Message& message) {
  const std::uint16_t node = node_of(message.to).value;
  if (!up(node)) return;
  const auto decoded = raft::decode(raft::type_of(message), raft::encode(message));
  CHECK(decoded.has_value(), "a message that cannot be read", message.what.index());
  if (options_.trace)
    log(fmt::format("{} -> {} {} term {} {}", node_of(message.from), node, name_of(message), message.term,
                    describe(message)));
  step(node, [&](raft::Core& core, std::uint64_t now) {
    CHECK(core.message(*decoded, now), "a message that contradicts the server's state", message.from, message.to,
          name_of(message));
  });
}

bool RaftCluster::deliver(std::uint16_t from, std::uint16_t to) {
  const auto found = std::find_if(in_flight_.begin(), in_flight_.end(), [&](const raft::Message& m) {
    return node_of(m.from).value == from && node_of(m.to).value == to;
  });
  if (found == in_flight_.end()) return false;
  const raft::Message message = std::move(*found);
  in_flight_.erase(found);
  hand_over(message);
  return true;
}

bool RaftCluster::end_write_of(std::uint16_t node) {
  if (!up(node) || servers_[node].writes.empty()) return false;
  end_write(node);
  return true;
}

void RaftCluster::deliver_all() {
  for (bool busy = true; busy;) {
    busy = !in_flight_.empty();
    if (busy) {
      const raft::Message m = std::move(in_flight_.front());
      in_flight_.erase(in_flight_.begin());
      if (!cut_[node_of(m.from).value * servers_.size() + node_of(m.to).value]) hand_over(m);
    }
    for (std::uint16_t node = 0; node < nodes(); ++node) {
      while (end_write_of(node)) busy = true;
    }
  }
}

void RaftCluster::expire(std::uint16_t node) {
  const std::uint64_t now = clock(node), deadline = core(node).next_deadline();
  if (deadline > now) pass(node, deadline - now);
  step(node, [](raft::Core& core, std::uint64_t at_deadline) { core.tick(at_deadline); });
}

void RaftCluster::log(const std::string& line) const {
  if (options_.trace) std::fprintf(stderr, "%8.3f ms  %s\n", static_cast<double>(now_) / 1000, line.c_str());
}

}  // namespace gallocy::sim
