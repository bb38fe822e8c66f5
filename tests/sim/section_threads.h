// Threads on whole nodes that use failure-atomic sections: each takes the locks of some pages of durable memory, loads
// and stores cells there, and commits or rolls back. That no living nodes have a lock at once is the ledger's to check.
// None may have a conflict, and in the end what they saw must be strictly serializable, with no money come or gone.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/prng.h"
#include "durable/section.h"
#include "durable_checker.h"
#include "lock_ledger.h"
#include "whole_cluster.h"

namespace gallocy::sim {

class SectionThreads {
 public:
  static constexpr std::uint64_t kFirstWaiter = 1u << 20,
                                 kFirstTicket = std::uint64_t{1} << 40;  // from there on theirs

  SectionThreads(Prng& prng, WholeCluster& cluster, LockLedger& ledger, const WholeOptions& options);

  void begin_work();  // one of them, if it has nothing to do
  void woken(NodeId node, sync::WaiterId waiter, sync::Outcome outcome);
  void read_done(const durable::ReadDone& done);
  void commit_done(const durable::CommitDone& done);
  void node_ended(NodeId node);

  std::size_t working() const;
  bool works_on(NodeId node) const;
  std::string describe() const;
  void check_history();  // at rest

  struct Counters {
    std::uint64_t committed = 0, rolled_back = 0, owner_died = 0;
    std::uint64_t cut_off = 0, unknown = 0;  // the node ended within it; before the answer
  };
  const Counters& counters() const { return counters_; }

 private:
  struct Cell {
    std::uint64_t number = 0;  // of the section that wrote it
    std::int64_t balance = 0;
  };
  struct Thread {
    NodeId node{};
    std::uint64_t number = 0;
    std::uint64_t turn = 0;
    std::vector<std::size_t> locks{};  // ascending; none: it has nothing to do
    std::size_t held = 0;
    bool owner_died = false, waits = false, committing = false, ends = false;
    std::optional<durable::Section> section{};
    std::map<PageId, durable::Bytes> frames{};
    std::optional<PageId> fetching{};
    DurableTransaction transaction{};
    std::vector<std::uint32_t> cells{};  // that it has yet to touch
    std::map<std::uint32_t, Cell> seen{};
    std::uint64_t since = 0;
  };

  PageId first_page(std::size_t lock) const;
  std::uint64_t address_of_cell(std::uint32_t cell) const;
  sync::SyncId mutex_of(std::size_t lock) const;
  bool is(WholeBug bug) const { return options_.bug == bug; }
  void choose(Thread& thread);
  void go_on(Thread& thread);
  void step(Thread& thread);
  void take(Thread& thread);
  void enter(Thread& thread);
  bool access(Thread& thread, std::uint64_t address, std::span<std::byte> bytes, bool store);
  bool may_touch(Thread& thread, PageId page, Access want);
  void touch(Thread& thread);
  void end_section(Thread& thread);
  void let_go(Thread& thread);
  void end(Thread& thread);

  Prng& prng_;
  WholeCluster& cluster_;
  LockLedger& ledger_;
  const WholeOptions options_;
  std::vector<Thread> threads_;  // in order of their nodes
  std::size_t locks_ = 1;
  std::uint32_t cells_ = 1;
  std::map<std::uint64_t, std::pair<std::size_t, std::uint64_t>> tickets_;  // of which thread, in which section
  std::vector<DurableTransaction> history_;
  std::uint64_t last_ticket_ = kFirstTicket, last_number_ = 0, moment_ = 0;
  Counters counters_;
};

}  // namespace gallocy::sim
