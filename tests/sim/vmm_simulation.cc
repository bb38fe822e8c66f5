#include "vmm_simulation.h"

#include "base/check.h"

namespace gallocy::sim {
namespace {

constexpr std::uint64_t kMillisecond = 1000;
constexpr std::uint64_t kUnrestUs = 3000 * kMillisecond;
// A newcomer that gets 300 entries in messages of 200 bytes, one at a time over a slow link, takes 15 s.
constexpr std::uint64_t kPatienceUs = 60'000 * kMillisecond;

VmmClusterOptions cluster_options(std::uint64_t seed, const VmmWorkload& workload) {
  Prng prng(seed * 131 + 7);
  VmmClusterOptions o;
  o.seed = prng();
  o.raft = workload.raft;
  o.bug = workload.bug;
  o.nodes = static_cast<std::uint16_t>(3 + prng.below(5));
  o.delay_us = 200 + prng.below(prng.one_in(4) ? 60 * kMillisecond : 5 * kMillisecond);
  o.loss_permille = workload.partitions && prng.one_in(2) ? static_cast<unsigned>(prng.below(100)) : 0;
  o.replication.snapshot_bytes = prng.one_in(3) ? std::size_t{1} << 20 : 100 + prng.below(2000);
  raft::Options& c = o.replication.core;
  c.mutant = workload.mutant;
  static constexpr std::size_t kBatches[] = {200, 1000, wire::kMaxRaftBatchBytes};
  c.batch_bytes = kBatches[prng.below(3)];
  c.trailing_entries = prng.below(10);
  c.window.window_messages = 1 + prng.below(8);
  return o;
}

class Simulation {
 public:
  Simulation(std::uint64_t seed, const VmmWorkload& workload)
      : workload_(workload), prng_(seed), cluster_(cluster_options(seed, workload)) {
    cluster_.on_resolved = [this](vmm::Ticket ticket, const Result<vmm::Outcome>& outcome) {
      resolved(ticket, outcome);
    };
  }

  VmmReport run() {
    next_proposal();
    next_trouble();
    cluster_.run_for(kUnrestUs);
    mend();
    const std::uint64_t until = cluster_.now() + kPatienceUs;
    do cluster_.run_for(50 * kMillisecond);
    while (cluster_.now() < until && !at_rest());
    CHECK(at_rest(), "no rest after everything was mended", state());
    check_nothing_lost();
    report_.digest = cluster_.digest();
    report_.restores = cluster_.restores();
    return report_;
  }

 private:
  enum class Name { kProposed, kBound, kUnbinding, kUnbound };
  struct Proposal {
    std::string name;
    NodeId node{};
    bool binds = true;
    bool resolved = false;
  };

  NodeId any_node() { return NodeId{static_cast<std::uint16_t>(prng_.below(cluster_.nodes()))}; }

  void next_proposal() {
    cluster_.at(prng_.below(20 * kMillisecond), [this] {
      if (stopped_) return;
      const NodeId node = any_node();
      if (cluster_.up(node) && cluster_.is_member(node)) propose(node);
      next_proposal();
    });
  }

  void propose(NodeId node) {
    ++report_.proposals;
    Proposal p{.node = node};
    for (const auto& [name, state] : names_) {
      if (state == Name::kBound && prng_.one_in(10)) p.name = name, p.binds = false;
    }
    if (p.binds) {
      p.name = "name " + std::to_string(report_.proposals);
      names_[p.name] = Name::kProposed;
    } else {
      names_[p.name] = Name::kUnbinding;
    }
    const vmm::Ticket ticket = cluster_.fresh_ticket();
    proposals_[ticket] = p;
    cluster_.propose(node, p.binds ? vmm::Entry(vmm::BindName{p.name, 1}) : vmm::Entry(vmm::UnbindName{p.name}),
                     ticket);
  }

  void resolved(vmm::Ticket ticket, const Result<vmm::Outcome>& outcome) {
    const auto found = proposals_.find(ticket);
    if (found == proposals_.end()) return;
    Proposal& p = found->second;
    p.resolved = true;
    ++(outcome ? report_.accepted : report_.failed);
    // A name is proposed once, and unbound only if it is bound.
    CHECK(outcome || outcome.error().code == ErrorCode::kPeerLost, p.name, outcome.error().message);
    if (outcome) names_[p.name] = p.binds ? Name::kBound : Name::kUnbound;
  }

  // Trouble
  void next_trouble() {
    cluster_.at(prng_.below(200 * kMillisecond), [this] {
      if (stopped_) return;
      if (workload_.partitions && prng_.one_in(2)) partition();
      if (workload_.crashes && prng_.one_in(2)) crash_one();
      next_trouble();
    });
  }

  void partition() {
    cluster_.mend();
    ++report_.partitions;
    const std::uint64_t kind = prng_.below(6), half = prng_();
    const NodeId victim = prng_.one_in(2) ? leader().value_or(any_node()) : any_node();
    for (std::uint16_t a = 0; a < cluster_.nodes(); ++a) {
      for (std::uint16_t b = 0; b < cluster_.nodes(); ++b) {
        const bool severed = (kind == 0 && (NodeId{a} == victim) != (NodeId{b} == victim)) ||  // isolated
                             (kind == 1 && NodeId{a} == victim) || (kind == 2 && NodeId{b} == victim) ||
                             (kind == 3 && (half >> a & 1) != (half >> b & 1)) || (kind == 4 && prng_.one_in(4));
        if (severed && a != b) cluster_.cut(NodeId{a}, NodeId{b});
      }
    }
  }

  std::optional<NodeId> leader() const {
    std::optional<NodeId> found;
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
      const raft::Core* core = cluster_.core(NodeId{n});
      if (core == nullptr || core->role() != raft::Role::kLeader) continue;
      if (!found || cluster_.core(*found)->term() < core->term()) found = NodeId{n};
    }
    return found;
  }

  // Without disks a company must keep a majority in every configuration that anybody may still act on.
  bool may_crash(NodeId victim) const {
    const auto survives = [&](const raft::Configuration& configuration) {
      std::size_t alive = 0;
      for (std::uint16_t n = 0; n < cluster_.nodes(); ++n)
        alive +=
            NodeId{n} != victim && cluster_.up(NodeId{n}) && configuration.voters.contains(cluster_.server(NodeId{n}));
      return configuration.voters.empty() || alive >= configuration.quorum();
    };
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
      const raft::Core* core = cluster_.core(NodeId{n});
      if (core == nullptr) continue;
      for (LogIndex i = core->log().base(); i <= core->log().last(); ++i.value) {
        if (!survives(core->log().configurations().at(i))) return false;
      }
    }
    return true;
  }

  void crash_one() {
    const NodeId victim = prng_.one_in(2) ? leader().value_or(any_node()) : any_node();
    if (!cluster_.up(victim) || !may_crash(victim)) return;
    ++report_.crashes;
    cluster_.crash(victim);
    for (auto& [ticket, p] : proposals_) p.resolved |= p.node == victim;
    cluster_.at(prng_.below(600 * kMillisecond), [this, victim] {
      if (!cluster_.up(victim)) cluster_.restart(victim);
    });
  }

  // The end
  void mend() {
    stopped_ = true;
    cluster_.mend();
    cluster_.lose_nothing();
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
      if (!cluster_.up(NodeId{n})) cluster_.restart(NodeId{n});
    }
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n)
      cluster_.propose(NodeId{n}, vmm::UnbindName{"shows what was lost"}, cluster_.fresh_ticket());
  }

  bool at_rest() {
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
      const NodeId node{n};
      if (!cluster_.is_member(node) || cluster_.log(node).open_proposals() > 0) return false;
      if (cluster_.log(node).machine().applied() != cluster_.log(NodeId{0}).machine().applied()) return false;
    }
    return true;
  }

  // For whoever has to find out.
  std::string state() {
    std::string text;
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
      const vmm::Log& log = cluster_.log(NodeId{n});
      text +=
          fmt::format("\n node {}: {}, {} applied, {} open", n, cluster_.is_member(NodeId{n}) ? "member" : "outside",
                      log.machine().applied(), log.open_proposals());
      const raft::Core* core = cluster_.core(NodeId{n});
      if (core == nullptr) continue;
      text += fmt::format(", server {:x}, term {}, leader {:x}, log {} … {} … {}", core->self().value, core->term(),
                          core->leader().value, core->log().base(), core->commit(), core->log().last());
      for (const raft::ServerId s : core->configuration().voters) text += fmt::format(" +{:x}", s.value);
      for (const raft::ServerId s : core->configuration().learners) text += fmt::format(" -{:x}", s.value);
    }
    return text;
  }

  void check_nothing_lost() {
    for (const auto& [ticket, p] : proposals_) CHECK(p.resolved, "a proposal hangs", p.name, p.node);
    for (const auto& [name, state] : names_) {
      const bool bound = cluster_.log(NodeId{0}).machine().binding(name) != nullptr;
      if (state == Name::kBound) CHECK(bound, "an accepted name is lost", name);
      if (state == Name::kUnbound) CHECK(!bound, "an unbound name is back", name);
    }
  }

  const VmmWorkload workload_;
  Prng prng_;
  VmmCluster cluster_;
  std::map<vmm::Ticket, Proposal> proposals_;
  std::map<std::string, Name> names_;
  bool stopped_ = false;
  VmmReport report_;
};

}  // namespace

VmmReport run_vmm(std::uint64_t seed, const VmmWorkload& workload) { return Simulation(seed, workload).run(); }

}  // namespace gallocy::sim
