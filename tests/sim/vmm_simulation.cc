#include "vmm_simulation.h"

#include <cstdio>

#include "base/check.h"
#include "second_company.h"
#include "vmm/company.h"

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
  o.shard.of = workload.shards;
  o.bug = workload.bug;
  o.disks = workload.disks;
  o.nodes = static_cast<std::uint16_t>(workload.changes ? 1 + prng.below(5) : 3 + prng.below(5));
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
    cluster_.on_end = [this](NodeId node) {
      if (second_) second_->end(node);
      if (const auto parted = parted_.extract(node)) parted_.erase(parted.mapped());
      for (auto& [ticket, p] : proposals_) p.resolved |= p.node == node;
      if (workload_.disks) restart(node);
    };
    if (workload.shards > 1) add_second_company(cluster_options(seed, workload));
  }

  // The second shard of the address space: with a log and a company of its own.
  void add_second_company(const VmmClusterOptions& options) {
    second_.emplace(cluster_, options);
    second_->on_resolved = cluster_.on_resolved;
    cluster_.on_start = [this](NodeId node) { second_->start(node); };
    cluster_.on_change = [this](NodeId node) { second_->changed(node); };
    cluster_.on_peer_down = [this](NodeId node, NodeId other) { second_->peer_down(node, other); };
    cluster_.on_peer_up = [this](NodeId node, NodeId other) { second_->peer_up(node, other); };
    if (options.bug == DriverBug::kForgetSecond) return;
    cluster_.is_needed = [this](NodeId node) { return second_->needs(node); };
  }

  VmmReport run() {
    next_proposal();
    next_trouble();
    cluster_.run_for(kUnrestUs);
    mend();
    const std::uint64_t until = cluster_.now() + kPatienceUs;
    do cluster_.run_for(50 * kMillisecond);
    while (cluster_.now() < until && !at_rest());
    if (!at_rest()) std::fputs(state().c_str(), stderr);  // longer than a CHECK prints
    CHECK(at_rest(), "no rest after everything was mended");
    check_nothing_lost();
    report_.digest = cluster_.digest() + (second_ ? second_->digest() : 0);
    report_.restores = cluster_.restores();
    return report_;
  }

 private:
  enum class Name { kProposed, kBound, kUnbinding, kUnbound };
  struct Proposal {
    std::string name;
    NodeId node{};
    bool binds = true;
    bool maps = false;
    bool resolved = false;
  };

  NodeId any_node() { return NodeId{static_cast<std::uint16_t>(prng_.below(cluster_.nodes()))}; }

  void next_proposal() {
    cluster_.at(prng_.below(20 * kMillisecond), [this] {
      if (stopped_) return;
      const NodeId node = any_node();
      if (cluster_.up(node) && cluster_.is_member(node) && !cluster_.leaving(node)) propose(node);
      next_proposal();
    });
  }

  // The shard that an entry belongs to.
  vmm::Log* log_of(NodeId node, std::uint32_t shard) { return shard == 0 ? &cluster_.log(node) : &second_->log(node); }
  std::uint32_t shard_of(const vmm::Entry& entry) const { return vmm::shard_of(entry, second_ ? 2 : 1); }
  std::uint32_t shard_of(const std::string& name) const { return shard_of(vmm::BindName{name, 0}); }

  void hand_in(NodeId node, vmm::Entry entry, vmm::Ticket ticket) {
    if (shard_of(entry) == 0) return cluster_.propose(node, std::move(entry), ticket);
    second_->propose(node, std::move(entry), ticket);
  }

  void propose_region(NodeId node) {
    const std::string name = "region " + std::to_string(++report_.proposals);
    const vmm::MapRegion entry{.name = name, .bytes = 1 + prng_.below(9'000'000), .placement = Placement::interleave()};
    if (shard_of(entry) != 0 && !second_->is_member(node)) return;
    const vmm::Ticket ticket = cluster_.fresh_ticket();
    proposals_[ticket] = {.name = name, .node = node, .maps = true};
    hand_in(node, entry, ticket);
  }

  void propose(NodeId node) {
    if (second_ && prng_.one_in(4)) return propose_region(node);
    ++report_.proposals;
    Proposal p{.node = node};
    for (const auto& [name, state] : names_) {
      if (state == Name::kBound && prng_.one_in(10)) p.name = name, p.binds = false;
    }
    if (p.binds) p.name = "name " + std::to_string(report_.proposals);
    if (shard_of(p.name) != 0 && !second_->is_member(node)) return;
    if (p.binds) {
      names_[p.name] = Name::kProposed;
    } else {
      names_[p.name] = Name::kUnbinding;
    }
    const vmm::Ticket ticket = cluster_.fresh_ticket();
    proposals_[ticket] = p;
    hand_in(node, p.binds ? vmm::Entry(vmm::BindName{p.name, 1}) : vmm::Entry(vmm::UnbindName{p.name}), ticket);
  }

  void resolved(vmm::Ticket ticket, const Result<vmm::Outcome>& outcome) {
    const auto found = proposals_.find(ticket);
    if (found == proposals_.end()) return;
    Proposal& p = found->second;
    p.resolved = true;
    ++(outcome ? report_.accepted : report_.failed);
    // A name is proposed once, and unbound only if it is bound.
    const bool ends = cluster_.leaving(p.node) || parted_.contains(p.node);
    CHECK(outcome || outcome.error().code == ErrorCode::kPeerLost ||
              (ends && outcome.error().code == ErrorCode::kNotPermitted),
          p.name, outcome.error().message);
    if (outcome && p.maps) regions_[p.name] = *outcome;
    if (outcome && !p.maps) names_[p.name] = p.binds ? Name::kBound : Name::kUnbound;
  }

  // Trouble
  void next_trouble() {
    cluster_.at(prng_.below(200 * kMillisecond), [this] {
      if (stopped_) return;
      if (workload_.partitions && prng_.one_in(2)) partition();
      // Newcomers are let in when all founders have their numbers.
      founded_ = founded_ || !workload_.changes || all_are_members();
      if (founded_ && workload_.crashes && prng_.one_in(2)) crash_one();
      if (workload_.crashes && workload_.disks && prng_.one_in(10)) crash_all();
      if (founded_ && workload_.changes) change_members();
      next_trouble();
    });
  }

  bool all_are_members() {
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
      if (cluster_.log(NodeId{n}).machine().members().size() < cluster_.nodes()) return false;
    }
    return true;
  }

  void partition() {
    cluster_.mend();
    ++report_.partitions;
    const std::uint64_t kind = prng_.below(6), half = prng_();
    const NodeId victim = prng_.one_in(2) ? a_leader().value_or(any_node()) : any_node();
    for (std::uint16_t a = 0; a < cluster_.nodes(); ++a) {
      for (std::uint16_t b = 0; b < cluster_.nodes(); ++b) {
        const bool severed = (kind == 0 && (NodeId{a} == victim) != (NodeId{b} == victim)) ||  // isolated
                             (kind == 1 && NodeId{a} == victim) || (kind == 2 && NodeId{b} == victim) ||
                             (kind == 3 && (half >> a & 1) != (half >> b & 1)) || (kind == 4 && prng_.one_in(4));
        if (severed && a != b) cluster_.cut(NodeId{a}, NodeId{b});
      }
    }
  }

  const raft::Core* core(NodeId node, std::uint32_t shard) const {
    return shard == 0 ? cluster_.core(node) : second_->core(node);
  }
  std::uint32_t shards() const { return second_ ? 2 : 1; }
  std::optional<NodeId> a_leader() { return leader(second_ ? static_cast<std::uint32_t>(prng_.below(2)) : 0); }

  std::optional<NodeId> leader(std::uint32_t shard) const {
    std::optional<NodeId> found;
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
      const raft::Core* one = core(NodeId{n}, shard);
      if (one == nullptr || one->role() != raft::Role::kLeader) continue;
      if (!found || core(*found, shard)->term() < one->term()) found = NodeId{n};
    }
    return found;
  }

  // Without disks a company must keep a majority in every configuration that anybody may still act on, and somebody who
  // stays. Until its leader has heard of the crash it may still give the victim a vote, or take that of one who leaves.
  bool may_crash(NodeId victim) {
    if (workload_.disks) return true;
    return somebody_stays_without(victim) && for_all_companies([&](const std::set<raft::ServerId>& voters) {
             if (!keeps_majority(voters, victim)) return false;
             std::set<raft::ServerId> next = voters;
             next.insert(cluster_.server(victim));
             if (!keeps_majority(next, victim)) return false;
             std::erase_if(next, [&](raft::ServerId server) { return cluster_.leaving(raft::node_of(server)); });
             return keeps_majority(next, victim);
           });
  }

  bool somebody_stays_without(NodeId one) {
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
      const NodeId node{n};
      if (node != one && lives_on(node) && cluster_.is_member(node) && !cluster_.leaving(node)) return true;
    }
    return false;
  }

  bool may_leave(NodeId node) {
    return somebody_stays_without(node) && for_all_companies([&](std::set<raft::ServerId> voters) {
             voters.erase(cluster_.server(node));
             return keeps_majority(voters, node);
           });
  }

  bool keeps_majority(const std::set<raft::ServerId>& voters, NodeId victim) const {
    std::size_t alive = 0;
    for (const raft::ServerId server : voters) {
      const NodeId node = raft::node_of(server);
      alive += node != victim && lives_on(node) && cluster_.server(node) == server;
    }
    return voters.empty() || alive >= voters.size() / 2 + 1;
  }

  template <typename F>
  bool for_all_companies(F f) {
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
      for (std::uint32_t shard = 0; shard < shards(); ++shard) {
        const raft::Core* one = core(NodeId{n}, shard);
        if (one == nullptr) continue;
        for (LogIndex i = one->log().base(); i <= one->log().last(); ++i.value) {
          if (!f(one->log().configurations().at(i).voters)) return false;
        }
      }
    }
    return true;
  }

  void crash_one() {
    const NodeId victim = prng_.one_in(2) ? a_leader().value_or(any_node()) : any_node();
    if (!cluster_.up(victim) || !may_crash(victim)) return;
    ++report_.crashes;
    cluster_.crash(victim);
    if (!workload_.disks) come_back(victim);
  }

  void crash_all() {
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
      if (!cluster_.up(NodeId{n})) continue;
      ++report_.crashes;
      cluster_.crash(NodeId{n});
    }
  }

  void restart(NodeId node) {
    cluster_.at(prng_.below(workload_.return_us), [this, node] {
      if (!cluster_.up(node)) cluster_.restart(node);
    });
  }

  // In another life, or as somebody else.
  void come_back(NodeId node) {
    const bool as_another = workload_.changes && prng_.one_in(2);
    cluster_.at(prng_.below(workload_.return_us), [this, node, as_another] {
      if (as_another) return cluster_.arrive();
      if (!cluster_.up(node) && !cluster_.comes_back(node)) cluster_.arrive(node);
    });
  }

  bool lives_on(NodeId node) const { return cluster_.up(node) && !parted_.contains(node); }

  void change_members() {
    constexpr std::size_t kMost = 9;
    std::size_t members = cluster_.arriving();
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) members += lives_on(NodeId{n}) && !cluster_.leaving(NodeId{n});
    const NodeId one = any_node();
    if (prng_.one_in(3) && members < kMost) {
      ++report_.arrivals;
      cluster_.arrive();
    } else if (prng_.one_in(3) && lives_on(one) && cluster_.is_member(one) && !cluster_.leaving(one) &&
               may_leave(one)) {
      ++report_.leavings;
      cluster_.leave(one);
    } else if (prng_.one_in(6) && members > 2) {
      part(one, any_node());
    }
  }

  // The log lets one of them die.
  void part(NodeId one, NodeId other) {
    const auto may_part = [&](NodeId node) {
      return lives_on(node) && cluster_.is_member(node) && !cluster_.leaving(node) && may_crash(node);
    };
    if (one == other || !may_part(one) || !may_part(other)) return;
    ++report_.partings;
    parted_[one] = other;
    parted_[other] = one;
    cluster_.part(one, other);
  }

  // The end
  void mend() {
    stopped_ = true;
    cluster_.mend();
    cluster_.lose_nothing();
    if (second_) second_->lose_nothing();
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
      const bool missing = !cluster_.up(NodeId{n}) && !cluster_.comes_back(NodeId{n});
      if (missing && !workload_.changes && !workload_.disks) cluster_.arrive(NodeId{n});
    }
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
      if (cluster_.up(NodeId{n}))
        cluster_.propose(NodeId{n}, vmm::UnbindName{"shows what was lost"}, cluster_.fresh_ticket());
    }
  }

  bool at_rest() {
    std::set<NodeId> members;
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
      const NodeId node{n};
      if (!cluster_.up(node)) continue;
      if (!cluster_.is_member(node) || cluster_.log(node).open_proposals() > 0) return false;
      members.insert(node);
    }
    for (const NodeId node : members) {
      const vmm::Machine& machine = cluster_.log(node).machine();
      if (machine.applied() != cluster_.log(*members.begin()).machine().applied()) return false;
      if (machine.members().size() != members.size()) return false;
    }
    if (second_ && !follows(members)) return false;
    for (std::uint32_t shard = 0; workload_.raft && shard < shards(); ++shard) {
      if (!in_shape(members, shard)) return false;
    }
    return cluster_.arriving() == 0;
  }

  // All have the second shard's log, which has the same members as the first.
  bool follows(const std::set<NodeId>& members) {
    for (const NodeId node : members) {
      const vmm::Machine& machine = second_->log(node).machine();
      if (second_->log(node).open_proposals() > 0) return false;
      if (machine.applied() != second_->log(*members.begin()).machine().applied()) return false;
      if (machine.members() != cluster_.log(node).machine().members()) return false;
      for (const NodeId member : members) {
        if (machine.member(member)->life != cluster_.life(member)) return false;
      }
    }
    return true;
  }

  // All members are in the company, nobody else is, and as many vote as should.
  bool in_shape(const std::set<NodeId>& members, std::uint32_t shard) const {
    const auto first = leader(shard);
    if (!first) return false;
    const raft::Configuration& company = core(*first, shard)->configuration();
    for (const NodeId node : members) {
      if (!company.has(cluster_.server(node))) return false;
    }
    return company.voters.size() + company.learners.size() == members.size() &&
           company.voters.size() == vmm::voters_among(members.size(), 5);
  }

  // For whoever has to find out.
  std::string state() {
    std::string text;
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
      if (!cluster_.up(NodeId{n})) continue;
      const vmm::Log& log = cluster_.log(NodeId{n});
      text +=
          fmt::format("\n node {}: {}, {} applied, {} open", n, cluster_.is_member(NodeId{n}) ? "member" : "outside",
                      log.machine().applied(), log.open_proposals());
      for (std::uint32_t shard = 0; shard < shards(); ++shard) text += state(NodeId{n}, shard);
    }
    return text;
  }

  std::string state(NodeId node, std::uint32_t shard) const {
    std::string text;
    const raft::Core* core = this->core(node, shard);
    if (core == nullptr) return text;
    text += fmt::format(", server {:x}, term {}, leader {:x}, log {} … {} … {}", core->self().value, core->term(),
                        core->leader().value, core->log().base(), core->commit(), core->log().last());
    for (const raft::ServerId s : core->configuration().voters) text += fmt::format(" +{:x}", s.value);
    for (const raft::ServerId s : core->configuration().learners) text += fmt::format(" -{:x}", s.value);
    return text;
  }

  void check_nothing_lost() {
    for (const auto& [ticket, p] : proposals_) CHECK(p.resolved, "a proposal hangs", p.name, p.node);
    NodeId any{0};
    while (!cluster_.up(any)) ++any.value;
    for (const auto& [name, state] : names_) {
      const bool bound = log_of(any, shard_of(name))->machine().binding(name) != nullptr;
      if (state == Name::kBound) CHECK(bound, "an accepted name is lost", name);
      if (state == Name::kUnbound) CHECK(!bound, "an unbound name is back", name);
    }
    if (second_) check_regions(any);
  }

  // Each where its shard says, as its proposer was told; in an order of their own in both shards.
  void check_regions(NodeId any) {
    for (const auto& [name, outcome] : regions_) {
      const vmm::Shard shard{.index = shard_of(vmm::MapRegion{.name = name, .placement = {}}), .of = 2};
      const vmm::Region* const region = log_of(any, shard.index)->machine().region_named(name);
      CHECK(region != nullptr, "an accepted region is lost", name);
      CHECK(region->id == outcome.region && region->address == outcome.address, name);
      CHECK(shard.has(region->id) && region->address - shard.window().base < shard.window().bytes, name);
      CHECK(log_of(any, 1 - shard.index)->machine().region(region->id) == nullptr, "an id of both shards", name);
      report_.regions[shard.index]++;
    }
  }

  const VmmWorkload workload_;
  Prng prng_;
  VmmCluster cluster_;
  std::optional<SecondCompany> second_;
  std::map<vmm::Ticket, Proposal> proposals_;
  std::map<std::string, Name> names_;
  std::map<std::string, vmm::Outcome> regions_;  // that were accepted, and where
  std::map<NodeId, NodeId> parted_;              // one of the two will learn that it was declared dead
  bool founded_ = false, stopped_ = false;
  VmmReport report_;
};

}  // namespace

VmmReport run_vmm(std::uint64_t seed, const VmmWorkload& workload) { return Simulation(seed, workload).run(); }

}  // namespace gallocy::sim
