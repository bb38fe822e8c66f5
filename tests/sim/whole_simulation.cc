#include "whole_simulation.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <set>

#include "base/check.h"
#include "durable_clients.h"
#include "raft/core.h"
#include "vmm/company.h"

namespace gallocy::sim {
namespace {

constexpr std::uint64_t kMillisecond = 1000;
constexpr std::uint64_t kUnrestUs = 12'000 * kMillisecond;
constexpr std::uint64_t kPatienceUs = 60'000 * kMillisecond;
constexpr std::uint16_t kMostNodes = 8, kFewestNodes = 4;
constexpr std::uint16_t kMostNumbers = WholeMemory::kMostNodes - 6;  // so many more may be on their way
constexpr std::uint64_t kRegionEveryUs = 2'000 * kMillisecond;

WholeOptions cluster_options(std::uint64_t seed, const WholeWorkload& workload) {
  Prng prng(seed * 173 + 3);
  WholeOptions o;
  o.log.seed = prng();
  o.log.nodes = static_cast<std::uint16_t>(3 + prng.below(3));
  o.log.delay_us = o.delay_us = 100 + prng.below(prng.one_in(4) ? 20 * kMillisecond : 2 * kMillisecond);
  o.log.replication.snapshot_bytes = prng.one_in(3) ? std::size_t{1} << 20 : 100 + prng.below(2000);
  // With three voters one may die before the others have made up for it.
  o.backups = static_cast<std::uint8_t>(o.log.nodes == 5 ? 1 + prng.below(2) : 1);
  o.blocks = 1 + prng.below(6);
  o.durable.pages_in_flight = static_cast<unsigned>(1 + prng.below(4));
  o.durable.most_put_off = 1 + prng.below(40);
  o.coherent = workload.coherent;
  o.trace = workload.trace;
  if (workload.settles) o.who_settles = prng.one_in(3) ? WhoSettles::kSome : WhoSettles::kAll;
  o.bug = workload.bug;
  return o;
}

class Simulation {
 public:
  Simulation(std::uint64_t seed, const WholeWorkload& workload)
      : workload_(workload),
        prng_(seed),
        options_(cluster_options(seed, workload)),
        cluster_(options_),
        clients_(prng_, most_nodes(), memory()) {
    if (options_.coherent) {
      threads_.emplace(prng_, cluster_.log(), *cluster_.memory());
      lockers_.emplace(prng_, cluster_.log(), *cluster_.sync(), ledger_, WholeMemory::kMostNodes);
      sections_.emplace(prng_, cluster_, ledger_, options_);
      cluster_.sync()->on_wake = [this](NodeId node, sync::WaiterId waiter, sync::Outcome outcome) {
        if (waiter.value < SectionThreads::kFirstWaiter) return lockers_->woken(node, waiter, outcome);
        sections_->woken(node, waiter, outcome);
      };
      lock_every_us_ = 2 * kMillisecond + prng_.below(50 * kMillisecond);
      section_every_us_ = 5 * kMillisecond + prng_.below(100 * kMillisecond);
      cluster_.on_declared_dead = [this](NodeId node) { ledger_.declared_dead(node); };
    }
    client_every_us_ = 500 + prng_.below(20 * kMillisecond);
    thread_every_us_ = 3 * kMillisecond + prng_.below(50 * kMillisecond);
    cluster_.on_read = [this](NodeId, const durable::ReadDone& done) {
      if (done.ticket.value < SectionThreads::kFirstTicket) return clients_.read_done(done);
      sections_->read_done(done);
    };
    cluster_.on_commit = [this](NodeId, const durable::CommitDone& done) {
      if (done.ticket.value < SectionThreads::kFirstTicket) return clients_.commit_done(done);
      sections_->commit_done(done);
    };
    cluster_.on_end = [this](NodeId node) { ended(node); };
  }

  WholeReport run() {
    run_until_restored("the cluster did not begin");
    // Most numbers are those of nodes that are gone, where there are many.
    keep_beginning(clients_, threads_ ? client_every_us_ / 3 : client_every_us_);
    if (threads_) {
      next_region();
      keep_beginning(*threads_, thread_every_us_);
      keep_beginning(*lockers_, lock_every_us_);
      keep_beginning(*sections_, section_every_us_);
    }
    next_trouble();
    cluster_.log().run_for(kUnrestUs);
    stopped_ = true;
    cluster_.mend_all();
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
      if (gone_.contains(NodeId{n})) come_back(NodeId{n});
    }
    run_until_restored("no rest after everything was mended");
    cluster_.check_rest();
    ledger_.check_rest();
    clients_.check_history();
    if (sections_) sections_->check_history();
    static_cast<DurableClients::Counters&>(report_) = clients_.counters();
    report_.digest = cluster_.digest();
    report_.messages = cluster_.messages();
    report_.silences = cluster_.silences();
    report_.settled = cluster_.settlings();
    if (threads_) {
      report_.pages = threads_->counters();
      report_.memory = cluster_.memory()->counters();
      report_.waits = lockers_->counters();
      report_.locks = ledger_.counters();
      report_.sections = sections_->counters();
      report_.leaves = cluster_.leaves()->counters();
    }
    return report_;
  }

 private:
  DurableClients::Memory memory() {
    return {.blocks = options_.blocks,
            .up = [this](NodeId node) { return cluster_.serves(node); },
            .begins = [this](NodeId node) { return !cluster_.log().leaving(node); },
            .address = [this](std::uint64_t block, std::uint32_t offset) { return cluster_.address(block, offset); },
            .read = [this](NodeId node, durable::Ticket ticket, std::uint64_t address,
                           std::uint32_t bytes) { cluster_.read(node, ticket, address, bytes); },
            .commit = [this](NodeId node, durable::Ticket ticket,
                             std::span<const durable::Item> items) { cluster_.commit(node, ticket, items); },
            .primary = [this](std::uint64_t block) -> const durable::Core& { return cluster_.primary(block); }};
  }

  NodeId any_node() { return NodeId{static_cast<std::uint16_t>(prng_.below(cluster_.nodes()))}; }

  std::uint16_t most_nodes() const { return options_.coherent ? kMostNumbers : kMostNodes; }
  std::size_t working() const {
    return clients_.working() + (threads_ ? threads_->working() + lockers_->working() + sections_->working() : 0);
  }

  bool is_at_rest() {
    if (!is_calm() || working() > 0 || !cluster_.settled() || is_leaving()) return false;
    for (std::uint16_t n = 0; n < cluster_.nodes() && threads_; ++n) {
      if (!cluster_.up(NodeId{n})) continue;
      if (!cluster_.memory()->is_at_rest(NodeId{n}) || !cluster_.sync()->is_at_rest(NodeId{n})) return false;
    }
    return true;
  }

  void run_until_restored(const char* otherwise) {
    const std::uint64_t until = cluster_.now() + kPatienceUs;
    do cluster_.log().run_for(50 * kMillisecond);
    while (cluster_.now() < until && !is_at_rest());
    // What was put off has been sent, and is forgotten.
    cluster_.log().run_for(1'000 * kMillisecond);
    if (!is_at_rest()) std::fputs(state().c_str(), stderr);
    CHECK(is_at_rest(), otherwise, working());
  }

  // Until the end, at random times that are at most so far apart.
  template <typename Workers>
  void keep_beginning(Workers& workers, std::uint64_t every_us) {
    cluster_.log().at(1 + prng_.below(every_us), [this, &workers, every_us] {
      if (stopped_) return;
      workers.begin_work();
      keep_beginning(workers, every_us);
    });
  }

  // What is lost with nodes stays lost.
  void next_region() {
    if (const NodeId node = any_node(); !stopped_ && cluster_.serves(node)) cluster_.memory()->map_region(node);
    cluster_.log().at(prng_.below(kRegionEveryUs), [this] {
      if (!stopped_) next_region();
    });
  }

  // ------------------------------------------------------------------------------------------ trouble

  void next_trouble() {
    cluster_.log().at(prng_.below(100 * kMillisecond), [this] {
      if (stopped_) return;
      if (is_calm()) may_die_ = most_deaths();
      if (is_leaving()) may_die_ = std::min(may_die_, 1u);
      if (workload_.crashes && prng_.one_in(4)) crash(prng_.one_in(3) ? leader() : any_node());
      if (workload_.cuts && prng_.one_in(4)) cut();
      if (workload_.joins && prng_.one_in(20)) join();
      if (workload_.leaves && threads_ && prng_.one_in(20)) leave();
      next_trouble();
    });
  }

  // All that is up are members of the log and of its company, and everything is at as many nodes as it should be.
  bool is_calm() {
    if (cuts_ > 0 || !gone_.empty() || cluster_.log().arriving() > 0 || !cluster_.restored()) return false;
    std::set<NodeId> members;
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
      if (!cluster_.up(NodeId{n})) continue;
      if (!cluster_.log().is_member(NodeId{n}) || cluster_.log().log(NodeId{n}).open_proposals() > 0) return false;
      members.insert(NodeId{n});
    }
    for (const NodeId node : members) {
      if (cluster_.log().log(node).machine().members().size() != members.size()) return false;
    }
    const raft::Core* const first = cluster_.log().core(leader());
    if (first == nullptr || first->role() != raft::Role::kLeader) return false;
    const raft::Configuration& company = first->configuration();
    return company.voters.size() + company.learners.size() == members.size() &&
           company.voters.size() == vmm::voters_among(members.size(), 5) &&
           std::ranges::all_of(members, [&](NodeId node) { return company.has(cluster_.log().server(node)); }) &&
           all_follow(*first, members);
  }

  // Everybody acts on the present configuration, not on an older one in which the dead may have been the majority.
  bool all_follow(const raft::Core& leader, const std::set<NodeId>& members) {
    return std::ranges::all_of(members, [&](NodeId node) {
      const raft::Core& core = *cluster_.log().core(node);
      return core.term() == leader.term() && core.configuration() == leader.configuration() &&
             core.commit() == leader.log().last();
    });
  }

  unsigned most_deaths() {
    const raft::Core& core = *cluster_.log().core(leader());
    const auto minority = static_cast<unsigned>((core.configuration().voters.size() - 1) / 2);
    return std::min<unsigned>(options_.backups, minority);
  }

  NodeId leader() {
    NodeId found = any_node();
    raft::Term term{};
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
      const raft::Core* core = cluster_.log().core(NodeId{n});
      if (core == nullptr || core->role() != raft::Role::kLeader || core->term() < term) continue;
      found = NodeId{n};
      term = core->term();
    }
    return found;
  }

  void crash(NodeId node) {
    if (may_die_ == 0 || !cluster_.up(node) || !may_come_back()) return;
    --may_die_;
    ++report_.crashes;
    cluster_.log().crash(node);
  }

  void ended(NodeId node) {
    if (threads_ && cluster_.leaves()->has_left(node)) return left(node);
    clients_.node_ended(node);
    if (threads_) threads_->node_ended(node), lockers_->node_ended(node), sections_->node_ended(node);
    ledger_.node_ended(node);
    ++report_.deaths;
    gone_.insert(node);
    cluster_.log().at(prng_.below(2'000 * kMillisecond), [this, node] {
      if (gone_.contains(node)) come_back(node);
    });
  }

  // There are numbers left.
  bool may_come_back() {
    return !options_.coherent || cluster_.nodes() + cluster_.log().arriving() + gone_.size() < kMostNumbers;
  }

  // In another life, or as somebody else.
  void come_back(NodeId node) {
    gone_.erase(node);
    const bool as_another = options_.coherent || (workload_.joins && cluster_.nodes() < kMostNodes && prng_.one_in(3));
    cluster_.log().arrive(as_another ? kNoNode : node);
  }

  void join() {
    const std::size_t there = options_.coherent ? cluster_.up_nodes().size() : cluster_.nodes();
    if (there + cluster_.log().arriving() >= kMostNodes || !may_come_back()) return;
    ++report_.joins;
    cluster_.log().arrive();
  }

  // So many stay that those who die and are replaced leave a majority.
  void leave() {
    const NodeId node = any_node();
    const bool is_member = cluster_.up(node) && cluster_.log().is_member(node) && !cluster_.log().leaving(node);
    const std::size_t stay = cluster_.up_nodes().size() - cluster_.leaves()->leaving();
    if (!is_member || !cluster_.sync()->is_introduced(node) || stay <= kFewestNodes || !is_calm()) return;
    may_die_ = std::min(may_die_, 1u);
    cluster_.log().begin_leaving(node);
    leave_when_done(node);
  }

  void leave_when_done(NodeId node) {
    cluster_.log().at(1 * kMillisecond, [this, node] {
      if (!cluster_.up(node)) return;
      const bool works =
          clients_.works_on(node) || threads_->works_on(node) || lockers_->works_on(node) || sections_->works_on(node);
      if (works) return leave_when_done(node);
      cluster_.leaves()->begin(node);
    });
  }

  bool is_leaving() {
    const auto nodes = cluster_.up_nodes();
    return std::ranges::any_of(nodes, [this](NodeId node) { return cluster_.log().leaving(node); });
  }

  void left(NodeId node) { CHECK(!clients_.works_on(node) && !threads_->works_on(node), "it works, and leaves", node); }

  // For a while, of which others may take it for dead, and the log has one die.
  void cut() {
    const NodeId one = any_node(), other = any_node();
    if (one == other || may_die_ == 0 || !cluster_.up(one) || !cluster_.up(other) || !may_come_back()) return;
    --may_die_;
    ++report_.cuts;
    std::vector<std::pair<NodeId, NodeId>> links;
    const std::uint64_t kind = prng_.below(4);
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
      if (NodeId{n} == one || !cluster_.up(NodeId{n}) || (kind < 2 && NodeId{n} != other)) continue;
      links.emplace_back(one, NodeId{n});
      if (kind % 2 == 0) links.emplace_back(NodeId{n}, one);
    }
    for (const auto& [from, to] : links) cluster_.cut(from, to);
    ++cuts_;
    cluster_.log().at(prng_.below(prng_.one_in(2) ? 1'000 * kMillisecond : 4'000 * kMillisecond), [this, links] {
      for (const auto& [from, to] : links) cluster_.mend(from, to);
      --cuts_;
    });
  }

  std::string state() {
    std::string text = fmt::format("\n cuts {}, gone {}, arriving {}, restored {}", cuts_, gone_.size(),
                                   cluster_.log().arriving(), cluster_.restored());
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
      if (!cluster_.up(NodeId{n})) continue;
      const vmm::Log& log = cluster_.log().log(NodeId{n});
      text += fmt::format("\n node {}: life {}, {}, {} members, {} applied, {} open, serves {}", n,
                          cluster_.log().life(NodeId{n}), cluster_.log().is_member(NodeId{n}) ? "member" : "outside",
                          log.machine().members().size(), log.machine().applied(), log.open_proposals(),
                          cluster_.serves(NodeId{n}));
      text += ", " + cluster_.describe(NodeId{n});
      for (std::uint16_t m = 0; m < cluster_.nodes(); ++m) {
        if (m != n && cluster_.up(NodeId{m}) && cluster_.log().parted(NodeId{n}, NodeId{m}))
          text += fmt::format(", parted from {}", m);
      }
      if (threads_) text += ", memory: " + cluster_.memory()->under_way(NodeId{n});
      if (threads_) text += ", locks: " + cluster_.sync()->describe(NodeId{n});
      if (threads_ && cluster_.log().leaving(NodeId{n})) text += ", leaves: " + cluster_.leaves()->describe(NodeId{n});
      const raft::Core* core = cluster_.log().core(NodeId{n});
      if (core == nullptr) continue;
      text += fmt::format(", term {}, leader {:x}, log {} … {} … {}", core->term(), core->leader().value,
                          core->log().base(), core->commit(), core->log().last());
      for (const raft::ServerId s : core->configuration().voters) text += fmt::format(" +{:x}", s.value);
      for (const raft::ServerId s : core->configuration().learners) text += fmt::format(" -{:x}", s.value);
    }
    if (threads_) text += threads_->describe() + lockers_->describe() + sections_->describe();
    return text + "\n";
  }

  const WholeWorkload workload_;
  Prng prng_;
  const WholeOptions options_;
  WholeCluster cluster_;
  DurableClients clients_;
  std::optional<PageThreads> threads_;
  LockLedger ledger_;
  std::optional<LockThreads> lockers_;  // with them
  std::optional<SectionThreads> sections_;
  std::uint64_t client_every_us_ = 0, thread_every_us_ = 0, lock_every_us_ = 0, section_every_us_ = 0;
  std::set<NodeId> gone_;
  unsigned may_die_ = 0, cuts_ = 0;
  bool stopped_ = false;
  WholeReport report_;
};

}  // namespace

WholeReport run_whole(std::uint64_t seed, const WholeWorkload& workload) { return Simulation(seed, workload).run(); }

}  // namespace gallocy::sim
