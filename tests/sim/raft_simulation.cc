#include "raft_simulation.h"

#include <algorithm>
#include <map>
#include <string>

#include "base/check.h"
#include "raft_linearizability.h"

namespace gallocy::sim {
namespace {

using raft::Change;
using raft::ServerId;
using Kind = RegisterOperation::Kind;

constexpr std::uint64_t kMillisecond = 1000;
constexpr std::uint64_t kUnrestMs = 3000;  // how long things go wrong
constexpr std::uint64_t kMendedMs = 1000;  // and how long everybody has to recover, so many times
constexpr unsigned kPatience = 20;
constexpr std::uint16_t kClients = 4;
constexpr std::uint64_t kClientTimeoutMs = 400;

RaftClusterOptions cluster_options(std::uint64_t seed, const RaftWorkload& workload) {
  Prng prng(seed * 77 + 1);
  RaftClusterOptions o;
  o.seed = prng();
  o.trace = workload.trace;
  o.nodes = static_cast<std::uint16_t>(3 + prng.below(4));
  o.founders = static_cast<std::uint16_t>(prng.one_in(4) ? 1 + prng.below(o.nodes) : std::min<unsigned>(o.nodes, 5));
  o.loss_permille = prng.one_in(2) ? static_cast<unsigned>(prng.below(100)) : 0;
  o.repeat_permille = prng.one_in(2) ? static_cast<unsigned>(prng.below(100)) : 0;
  o.delay_us = 200 + prng.below(10 * kMillisecond);
  o.long_delay_us = prng.one_in(2) ? 300 * kMillisecond : o.delay_us;
  o.write_us = prng.one_in(3) ? 30 * kMillisecond : 1000;
  o.drift_permille = prng.one_in(2) ? 150 : 0;
  o.snapshot_every = prng.one_in(3) ? 0 : 3 + prng.below(40);
  raft::Options& c = o.core;
  c.storage = workload.storage;
  c.mutant = workload.mutant;
  c.reads = prng.one_in(2) ? raft::ReadMode::kLease : raft::ReadMode::kReadIndex;
  c.clock_drift_permille = o.drift_permille;
  static constexpr std::size_t kBatches[] = {1, 60, 300, wire::kMaxRaftBatchBytes};
  c.batch_bytes = kBatches[prng.below(4)];
  // A chunk must not be so small that a snapshot never arrives.
  if (o.snapshot_every != 0) c.batch_bytes = std::max<std::size_t>(c.batch_bytes, 20);
  c.window.window_messages = 1 + prng.below(8);
  c.snapshot_window_bytes = 1 + prng.below(200);
  c.trailing_entries = prng.below(10);
  return o;
}

class Simulation {
 public:
  Simulation(std::uint64_t seed, const RaftWorkload& workload)
      : workload_(workload), prng_(seed), cluster_(cluster_options(seed, workload)) {
    cluster_.on_applied = [this](std::uint16_t node, const raft::Committed& c, bool success) {
      applied(node, c, success);
    };
    cluster_.on_read = [this](std::uint16_t node, const raft::ReadReady& read) { read_ready(node, read); };
  }

  RaftReport run() {
    for (std::uint16_t client = 0; client < kClients; ++client) next_operation(client);
    next_trouble();
    if (volatile_servers()) administer();
    cluster_.run_for(kUnrestMs * kMillisecond);
    mend();
    // With the smallest windows a new server takes its time.
    for (unsigned i = 0; i < kPatience && !(i > 0 && at_rest()); ++i) cluster_.run_for(kMendedMs * kMillisecond);
    check_progress();
    const auto violation = find_violation(history());
    CHECK(!violation, *violation);
    return report();
  }

 private:
  struct Operation {
    RegisterOperation what;
    std::uint16_t client = 0;
    std::uint16_t node = 0;
    ServerId server{};
    raft::Proposed proposed;
    bool open = true;    // the client waits for it
    bool lost = false;   // it never happened
    bool asked = false;  // a read that had to wait for an answer
  };

  bool volatile_servers() const { return workload_.storage == raft::Storage::kVolatile; }
  // All moments of the history are different.
  std::uint64_t moment() { return ++moment_; }

  // Clients
  void next_operation(std::uint16_t client) {
    cluster_.at(prng_.below(20 * kMillisecond), [this, client] {
      if (stopped_) return;
      // Any that takes itself for the leader will do.
      std::vector<std::uint16_t> leaders;
      for (std::uint16_t node = 0; node < cluster_.nodes(); ++node) {
        if (cluster_.up(node) && cluster_.core(node).role() == raft::Role::kLeader) leaders.push_back(node);
      }
      if (leaders.empty()) return next_operation(client);
      begin_operation(client, leaders[prng_.below(leaders.size())]);
    });
  }

  void begin_operation(std::uint16_t client, std::uint16_t node) {
    const std::uint64_t number = operations_.size() + 1;
    Operation& o = operations_[number];
    o.client = client;
    o.node = node;
    o.server = cluster_.id(node);
    o.what = {.kind = static_cast<Kind>(prng_.below(3)),
              .reg = static_cast<std::uint32_t>(prng_.below(RegisterMachine::kRegisters)),
              .value = number,
              .expected = cluster_.machine(node).read(0),
              .called = moment()};
    o.what.expected = cluster_.machine(node).read(o.what.reg);
    if (o.what.kind == Kind::kRead) {
      cluster_.step(node, [&](raft::Core& core, std::uint64_t now) { core.read(raft::Ticket{number}, now); });
      o.asked = o.open;
    } else {
      const RegisterCommand command{number, o.what.kind, o.what.reg, o.what.value, o.what.expected};
      bool refused = false;
      cluster_.step(node, [&](raft::Core& core, std::uint64_t) {
        const auto proposed = core.propose(command.encode());
        refused = !proposed;
        if (proposed) by_entry_[{proposed->index, proposed->term}] = number, o.proposed = *proposed;
      });
      if (refused) finish(number, false);
    }
    cluster_.at(kClientTimeoutMs * kMillisecond, [this, number] { finish(number, false); });
  }

  // The client goes on, with or without an answer.
  void finish(std::uint64_t number, bool answered) {
    Operation& o = operations_.at(number);
    if (!o.open) return;
    o.open = false;
    if (answered) {
      o.what.returned = moment();
      ++report_.answered;
    }
    next_operation(o.client);
  }

  void applied(std::uint16_t node, const raft::Committed& c, bool success) {
    for (auto entry = by_entry_.lower_bound({c.index, raft::Term{}});
         entry != by_entry_.end() && entry->first.first == c.index; ++entry) {
      Operation& o = operations_.at(entry->second);
      if (entry->first.second != c.entry.term) {
        o.lost = true;
      } else if (cluster_.id(node) == o.server && o.open) {
        o.what.success = success;
        finish(entry->second, true);
      }
    }
  }

  void read_ready(std::uint16_t node, const raft::ReadReady& read) {
    Operation& o = operations_.at(read.ticket.value);
    if (!read.index) return finish(read.ticket.value, false);
    CHECK(cluster_.machine(node).applied() >= *read.index, node, *read.index);
    o.what.value = cluster_.machine(node).read(o.what.reg);
    if (o.open) ++(o.asked ? report_.round_reads : report_.lease_reads);
    finish(read.ticket.value, true);
  }

  // Trouble
  void next_trouble() {
    cluster_.at(prng_.below(120 * kMillisecond), [this] {
      if (stopped_) return;
      const std::uint64_t kind = prng_.below(10);
      if (kind < 4 && workload_.partitions) partition();
      if (kind >= 4 && kind < 6 && workload_.crashes) crash_one();
      if (kind >= 6 && kind < 9 && workload_.changes) change_membership();
      if (kind == 9) transfer();
      next_trouble();
    });
  }

  void partition() {
    cluster_.mend_all();
    const auto node = static_cast<std::uint16_t>(prng_.below(cluster_.nodes()));
    const auto leader = cluster_.leader();
    const std::uint16_t victim = leader && prng_.one_in(2) ? *leader : node;
    const std::uint64_t kind = prng_.below(6);
    const std::uint64_t half = prng_();
    cluster_.log(fmt::format("partition {} of node {}", kind, victim));
    for (std::uint16_t a = 0; a < cluster_.nodes(); ++a) {
      for (std::uint16_t b = 0; b < cluster_.nodes(); ++b) {
        const bool cut = (kind == 0 && (a == victim) != (b == victim)) ||             // isolated
                         (kind == 1 && a == victim) || (kind == 2 && b == victim) ||  // deaf or dumb
                         (kind == 3 && (half >> a & 1) != (half >> b & 1)) ||         // split
                         (kind == 4 && prng_.one_in(4));                              // any links, one way
        if (cut && a != b) cluster_.cut(a, b);
      }
    }
  }

  // A company without disks must keep a majority in every configuration that anybody may still act on.
  bool may_crash(std::uint16_t victim) {
    if (!volatile_servers()) return true;
    const auto survives = [&](const raft::Configuration& configuration) {
      std::size_t alive = 0;
      for (std::uint16_t n = 0; n < cluster_.nodes(); ++n)
        alive += n != victim && cluster_.up(n) && configuration.voters.contains(cluster_.id(n));
      return configuration.voters.empty() || alive >= configuration.quorum();
    };
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
      if (!cluster_.up(n)) continue;
      const raft::ConfigurationHistory& history = cluster_.core(n).log().configurations();
      for (LogIndex i = cluster_.core(n).log().base(); i <= cluster_.core(n).log().last(); ++i.value) {
        if (!survives(history.at(i))) return false;
      }
    }
    return true;
  }

  void crash_one() {
    const auto leader = cluster_.leader();
    auto node = static_cast<std::uint16_t>(prng_.below(cluster_.nodes()));
    if (leader && prng_.one_in(2)) node = *leader;
    if (!cluster_.up(node) || !may_crash(node)) return;
    ++report_.crashes;
    cluster_.crash(node);
    cluster_.at(prng_.below(400 * kMillisecond), [this, node] {
      if (!cluster_.up(node)) cluster_.restart(node);
    });
  }

  void change_membership() {
    const auto leader = cluster_.leader();
    if (!leader || volatile_servers()) return;
    const auto kind = static_cast<Change::Kind>(prng_.below(4));
    const Change change{kind, cluster_.id(static_cast<std::uint16_t>(prng_.below(cluster_.nodes())))};
    // Any that takes itself for the leader may begin a change.
    for (std::uint16_t node = 0; node < cluster_.nodes(); ++node) {
      if (cluster_.up(node) && cluster_.core(node).role() == raft::Role::kLeader)
        cluster_.step(node, [&](raft::Core& core, std::uint64_t now) { (void)core.change(change, now); });
    }
  }

  void transfer() {
    const auto leader = cluster_.leader();
    if (!leader) return;
    const ServerId to = cluster_.id(static_cast<std::uint16_t>(prng_.below(cluster_.nodes())));
    cluster_.step(
        *leader, [&](raft::Core& core, std::uint64_t now) { report_.transfers += core.transfer(to, now).has_value(); });
  }

  // What the driver of a company without disks does: the dead are removed, the newly started are taken in.
  void administer() {
    cluster_.at(30 * kMillisecond, [this] {
      if (const auto leader = cluster_.leader()) {
        const raft::Configuration configuration = cluster_.core(*leader).configuration();
        std::vector<Change> changes;
        for (const auto* servers : {&configuration.voters, &configuration.learners}) {
          for (const ServerId server : *servers) {
            if (cluster_.id(node_of(server).value) != server) changes.push_back({Change::Kind::kRemove, server});
          }
        }
        for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
          if (!cluster_.up(n)) continue;
          const ServerId id = cluster_.id(n);
          if (!configuration.has(id)) changes.push_back({Change::Kind::kAddLearner, id});
          if (configuration.learners.contains(id) && configuration.voters.size() < 5)
            changes.push_back({Change::Kind::kPromote, id});
        }
        for (const Change& change : changes)
          cluster_.step(*leader, [&](raft::Core& core, std::uint64_t now) { (void)core.change(change, now); });
      }
      administer();
    });
  }

  // The end
  void mend() {
    cluster_.log("everything is mended");
    stopped_ = true;
    cluster_.make_network_perfect();
    for (std::uint16_t node = 0; node < cluster_.nodes(); ++node) {
      if (!cluster_.up(node)) cluster_.restart(node);
    }
    mended_at_ = cluster_.checker().last_committed();
  }

  bool at_rest() const {
    const auto leader = cluster_.leader();
    for (std::uint16_t n = 0; leader && n < cluster_.nodes(); ++n) {
      if (cluster_.core(*leader).configuration().has(cluster_.id(n)) &&
          cluster_.machine(n).applied() != cluster_.core(*leader).log().last())
        return false;
    }
    return leader.has_value();
  }

  void check_progress() {
    const auto leader = cluster_.leader();
    CHECK(leader.has_value(), "no leader after everything was mended");
    const raft::Core& core = cluster_.core(*leader);
    CHECK(core.commit() == core.log().last(), "entries are not committed", core.commit(), core.log().last());
    CHECK(core.commit() >= mended_at_ && core.log().last_term() == core.term(), core.commit(), mended_at_);
    for (const auto* servers : {&core.configuration().voters, &core.configuration().learners}) {
      for (const ServerId server : *servers) {
        const std::uint16_t node = node_of(server).value;
        CHECK(cluster_.id(node) == server, "a dead server is still a member", server);
        CHECK(cluster_.machine(node).applied() == core.commit(), "a member is behind", node,
              cluster_.machine(node).applied(), core.commit());
      }
    }
  }

  std::vector<RegisterOperation> history() const {
    std::vector<RegisterOperation> result;
    for (const auto& [number, o] : operations_) {
      if (!o.lost && (o.what.kind == Kind::kRead || o.proposed.index != LogIndex{})) result.push_back(o.what);
    }
    return result;
  }

  RaftReport report() {
    const RaftChecker& checker = cluster_.checker();
    report_.digest = mix(cluster_.digest(), moment_);
    report_.events = cluster_.events();
    report_.elections = checker.elections();
    report_.commits = checker.commits();
    report_.configurations = checker.configurations();
    report_.truncations = checker.truncations();
    report_.restores = cluster_.restores();
    report_.operations = operations_.size();
    return report_;
  }

  const RaftWorkload workload_;
  Prng prng_;
  RaftCluster cluster_;
  std::map<std::uint64_t, Operation> operations_;
  std::map<std::pair<LogIndex, raft::Term>, std::uint64_t> by_entry_;
  std::uint64_t moment_ = 0;
  bool stopped_ = false;
  LogIndex mended_at_{};
  RaftReport report_;
};

}  // namespace

RaftReport run_raft(std::uint64_t seed, const RaftWorkload& workload) { return Simulation(seed, workload).run(); }

}  // namespace gallocy::sim
