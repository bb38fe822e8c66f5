#include "durable_simulation.h"

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "durable_clients.h"
#include "durable_cluster.h"

namespace gallocy::sim {
namespace {

using durable::Core;
using durable::Ticket;

constexpr std::uint64_t kSteps = 2500;         // how long things go on
constexpr std::uint64_t kRestSteps = 200'000;  // and how long they may take to come to rest

// Two founders at least keep blocks.
std::vector<NodeId> choose_bystanders(Prng& prng, const DurableClusterOptions& o) {
  std::vector<NodeId> bystanders;
  for (std::uint16_t n = 0; n < o.nodes + o.spares; ++n) {
    if ((n >= o.nodes || bystanders.size() + 2 < o.nodes) && prng.one_in(2)) bystanders.push_back(NodeId{n});
  }
  return bystanders;
}

DurableClusterOptions cluster_options(std::uint64_t seed, const DurableWorkload& workload) {
  Prng prng(seed * 77 + 1);
  DurableClusterOptions o;
  o.seed = prng();
  o.trace = workload.trace;
  o.nodes = static_cast<std::uint16_t>(3 + prng.below(4));
  o.spares = static_cast<std::uint16_t>(workload.joins ? prng.below(6) : 0);
  o.backups = static_cast<unsigned>(1 + prng.below(2));
  o.blocks = 1 + prng.below(6);
  o.core.mutant = workload.mutant;
  o.disks = workload.restarts;
  o.store_mutant = workload.store_mutant;
  o.core.pages_in_flight = static_cast<unsigned>(1 + prng.below(4));
  o.core.most_put_off = 1 + prng.below(8);
  o.flush_every = prng.one_in(3) ? 1 : 1 + prng.below(100);
  if (workload.bystanders && prng.one_in(3)) o.bystanders = choose_bystanders(prng, o);
  return o;
}

class Simulation {
 public:
  Simulation(std::uint64_t seed, const DurableWorkload& workload)
      : workload_(workload),
        prng_(seed),
        options_(cluster_options(seed, workload)),
        cluster_(options_),
        clients_(prng_, options_.nodes, memory()) {
    crash_every_ = 50 + prng_.below(1000);
    join_every_ = 100 + prng_.below(900);
    leave_every_ = 200 + prng_.below(800);
    client_every_ = 2 + prng_.below(20);
    cluster_.on_read = [this](NodeId, const durable::ReadDone& done) { clients_.read_done(done); };
    cluster_.on_commit = [this](NodeId node, const durable::CommitDone& done) {
      report_.bystanders_committed += cluster_.is_bystander(node) && done.outcome == durable::Outcome::kDone;
      clients_.commit_done(done);
    };
  }

  DurableReport run() {
    for (std::uint64_t step = 0; step < kSteps; ++step) one_step();
    cluster_.log("no more of it");
    go_on();
    cluster_.publish();
    if (cluster_.leaver() != kNoNode) cluster_.stay();
    come_to_rest();
    while (workload_.settles && settle_on()) come_to_rest();
    cluster_.check_rest();
    if (workload_.settles && !workload_.leaves) cluster_.check_shares();
    clients_.check_history();
    static_cast<DurableClients::Counters&>(report_) = clients_.counters();
    report_.digest = cluster_.digest();
    report_.messages = cluster_.messages();
    report_.epochs = cluster_.epochs();
    report_.disks = cluster_.disk_counters();
    return report_;
  }

 private:
  DurableClients::Memory memory() {
    return {.blocks = options_.blocks,
            .up = [this](NodeId node) { return cluster_.up(node); },
            .address = [this](std::uint64_t block, std::uint32_t offset) { return cluster_.address(block, offset); },
            .read =
                [this](NodeId node, Ticket ticket, std::uint64_t address, std::uint32_t bytes) {
                  cluster_.step(node, [&](Core& core) { core.read(ticket, address, bytes); });
                },
            .commit =
                [this](NodeId node, Ticket ticket, std::span<const durable::Item> items) {
                  cluster_.step(node, [&](Core& core) { core.commit(ticket, items); });
                },
            .primary = [this](std::uint64_t block) -> const Core& { return cluster_.primary(block); }};
  }

  void come_to_rest() {
    std::uint64_t rest = 0;
    while (cluster_.deliver(prng_)) CHECK(++rest < kRestSteps, "no rest");
  }

  // False: everybody who joined has settled.
  bool settle_on() {
    if (cluster_.can_begin_settling()) {
      cluster_.begin_settling();
    } else if (cluster_.is_settling()) {
      CHECK(cluster_.may_go_on_settling(), "settling hangs");
      go_on_settling();
    } else {
      return false;
    }
    return true;
  }

  void go_on_settling() {
    cluster_.go_on_settling();
    report_.settled += !cluster_.is_settling();
  }

  void one_step() {
    if (prng_.one_in(client_every_)) clients_.begin_work();
    if (workload_.crashes && (prng_.one_in(crash_every_) || (crash_soon_ > 0 && --crash_soon_ == 0))) crash();
    if (workload_.restarts && (prng_.one_in(600) || (restart_soon_ > 0 && --restart_soon_ == 0))) restart_due_ = true;
    if (restart_due_ && is_moment_to_restart()) restart();
    if (prng_.one_in(300)) pause();
    if (paused_ && cluster_.up(*paused_) && prng_.one_in(60)) go_on();
    if (workload_.joins && prng_.one_in(join_every_) && cluster_.can_join()) {
      cluster_.join();
      ++report_.joins;
    }
    if (workload_.leaves && prng_.one_in(leave_every_)) begin_leave();
    if (cluster_.may_leave() && prng_.one_in(20)) leave();
    if (workload_.settles && cluster_.can_begin_settling() && prng_.one_in(60)) cluster_.begin_settling();
    if (cluster_.may_go_on_settling() && prng_.one_in(10)) go_on_settling();
    if (!cluster_.published() && prng_.one_in(30)) cluster_.publish();
    (void)cluster_.deliver(prng_);
  }

  void begin_leave() {
    if (cluster_.leaver() != kNoNode) {
      if (cluster_.up(cluster_.leaver()) && prng_.one_in(3)) cluster_.stay();
      return;
    }
    const NodeId node{static_cast<std::uint16_t>(prng_.below(cluster_.nodes()))};
    if (cluster_.up(node) && may_do_without(node)) cluster_.begin_leave(node);
  }

  // When it has left, as many others may die as before.
  bool may_do_without(NodeId node) const {
    if (cluster_.is_bystander(node)) return cluster_.alive() > 2;
    return cluster_.keeping().size() > options_.backups + 2;
  }

  // Nothing is missing now.
  void leave() {
    if (!may_do_without(cluster_.leaver())) return cluster_.stay();
    report_.bystanders_left += cluster_.is_bystander(cluster_.leaver());
    cluster_.crash(cluster_.leaver(), prng_);
    cluster_.publish();
    ++report_.leaves;
  }

  // No more nodes than there are backups die before everything is at as many nodes as it should be; and any bystanders.
  void crash() {
    const auto keeping = static_cast<unsigned>(cluster_.keeping().size());
    if (cluster_.restored()) may_die_ = std::min(options_.backups, keeping - 1);
    const NodeId node{static_cast<std::uint16_t>(prng_.below(cluster_.nodes()))};
    if (!cluster_.up(node) || cluster_.alive() <= 2) return;
    if (cluster_.is_bystander(node)) {
      ++report_.bystanders_died;
    } else {
      if (may_die_ == 0 || keeping == 1) return;
      --may_die_;
    }
    cluster_.crash(node, prng_);
    ++report_.crashes;
    // The next one, while all are busy with this.
    if (prng_.one_in(2)) crash_soon_ = 1 + prng_.below(60);
  }

  // In the midst of writes, and best of those that write a journal anew.
  bool is_moment_to_restart() {
    using Writes = DurableCluster::Writes;
    return prng_.one_in(50) || (prng_.one_in(10) && cluster_.is_writing(Writes::kAny)) ||
           cluster_.is_writing(Writes::kAnew);
  }

  // All at once, or some of them. Who had asked something will not get an answer.
  void restart() {
    std::vector<NodeId> nodes = cluster_.members();
    if (prng_.one_in(3)) std::erase_if(nodes, [&](NodeId) { return prng_.one_in(2); });
    for (const NodeId node : nodes) {
      clients_.node_ended(node);
      if (paused_ == node) go_on();
    }
    cluster_.restart(nodes, prng_);
    ++report_.restarts;
    restart_due_ = false;
    // Again, while all are busy with what comes first.
    if (prng_.one_in(2)) restart_soon_ = 1 + prng_.below(100);
  }

  // A node is without a lease for a while, says nothing, and then everything at once.
  void pause() {
    const NodeId node{static_cast<std::uint16_t>(prng_.below(cluster_.nodes()))};
    if ((paused_ && cluster_.up(*paused_)) || !cluster_.up(node)) return;
    paused_ = node;
    cluster_.set_lease(node, durable::Lease::kLapsed);
  }
  void go_on() {
    if (paused_ && cluster_.up(*paused_)) cluster_.set_lease(*paused_, durable::Lease::kHeld);
    paused_.reset();
  }

  DurableWorkload workload_;
  Prng prng_;
  DurableClusterOptions options_;
  DurableCluster cluster_;
  DurableClients clients_;
  std::uint64_t crash_every_ = 0, join_every_ = 0, leave_every_ = 0, client_every_ = 0;
  std::uint64_t crash_soon_ = 0, restart_soon_ = 0;  // steps; 0: not
  bool restart_due_ = false;
  std::optional<NodeId> paused_;
  unsigned may_die_ = 0;
  DurableReport report_;
};

}  // namespace

DurableReport run_durable(std::uint64_t seed, const DurableWorkload& workload) {
  return Simulation(seed, workload).run();
}

}  // namespace gallocy::sim
