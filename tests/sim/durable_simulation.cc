#include "durable_simulation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "base/check.h"
#include "durable_checker.h"
#include "durable_cluster.h"
#include "raft_linearizability.h"

namespace gallocy::sim {
namespace {

using durable::Bytes;
using durable::Core;
using durable::ItemKind;
using durable::Outcome;
using durable::Ticket;
using Fate = DurableTransaction::Fate;
using RegisterKind = RegisterOperation::Kind;

constexpr std::uint64_t kSteps = 2500;         // how long things go on
constexpr std::uint64_t kRestSteps = 200'000;  // and how long they may take to come to rest

// What a cell holds. The number says which transaction wrote it.
struct Cell {
  std::uint64_t number = 0;
  std::int64_t balance = 0;
};

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
  o.core.pages_in_flight = static_cast<unsigned>(1 + prng.below(4));
  o.core.most_put_off = 1 + prng.below(8);
  o.flush_every = prng.one_in(3) ? 1 : 1 + prng.below(100);
  return o;
}

class Simulation {
 public:
  Simulation(std::uint64_t seed, const DurableWorkload& workload)
      : workload_(workload), prng_(seed), options_(cluster_options(seed, workload)), cluster_(options_) {
    cells_ = static_cast<std::uint32_t>(1 + prng_.below(6));
    registers_ = static_cast<std::uint32_t>(1 + prng_.below(2));
    crash_every_ = 50 + prng_.below(1000);
    join_every_ = 100 + prng_.below(900);
    client_every_ = 2 + prng_.below(20);
    const std::uint64_t per_node = 1 + prng_.below(3);
    for (std::uint16_t n = 0; n < cluster_.nodes(); ++n) {
      for (std::uint64_t i = 0; i < per_node; ++i) clients_.push_back({.node = NodeId{n}});
    }
    cluster_.on_read = [this](NodeId, const durable::ReadDone& done) { read_done(done); };
    cluster_.on_commit = [this](NodeId, const durable::CommitDone& done) { commit_done(done); };
  }

  DurableReport run() {
    for (std::uint64_t step = 0; step < kSteps; ++step) one_step();
    cluster_.log("no more of it");
    go_on();
    cluster_.publish();
    std::uint64_t rest = 0;
    while (cluster_.deliver(prng_)) CHECK(++rest < kRestSteps, "no rest");
    cluster_.check_rest();
    check_history();
    report_.digest = cluster_.digest();
    report_.messages = cluster_.messages();
    report_.epochs = cluster_.epochs();
    return report_;
  }

 private:
  struct Client {
    NodeId node{};
    bool busy = false;
  };
  // A client's work: first it reads cells one by one, then it commits.
  struct Work {
    std::size_t client = 0;
    DurableTransaction transaction;
    std::map<std::uint32_t, Cell> seen;
    std::vector<std::uint32_t> to_read;
    std::uint64_t read_called = 0;
    RegisterOperation operation;  // registers only
    bool is_register = false;
    bool committing = false;
  };

  std::uint64_t moment() { return ++moment_; }
  std::uint64_t block_of_cell(std::uint32_t cell) const { return cell % options_.blocks; }
  // Cells lie close together, some across the border of two pages.
  std::uint64_t address_of_cell(std::uint32_t cell) const {
    const auto place = static_cast<std::uint32_t>(cell / options_.blocks);
    return cluster_.address(block_of_cell(cell), static_cast<std::uint32_t>(kPageBytes) - 8 + place * 24);
  }
  std::uint64_t address_of_register(std::uint32_t reg) const {
    return cluster_.address(reg % options_.blocks, 5 * kPageBytes + reg * 8);
  }

  void one_step() {
    if (prng_.one_in(client_every_)) begin_work();
    if (workload_.crashes && (prng_.one_in(crash_every_) || (crash_soon_ > 0 && --crash_soon_ == 0))) crash();
    if (prng_.one_in(300)) pause();
    if (paused_ && cluster_.up(*paused_) && prng_.one_in(60)) go_on();
    if (workload_.joins && prng_.one_in(join_every_) && cluster_.can_join()) {
      cluster_.join();
      ++report_.joins;
    }
    if (!cluster_.published() && prng_.one_in(30)) cluster_.publish();
    (void)cluster_.deliver(prng_);
  }

  // No more nodes than there are backups die before everything is at as many nodes as it should be.
  void crash() {
    if (cluster_.restored()) may_die_ = std::min(options_.backups, cluster_.alive() - 1);
    if (may_die_ == 0 || cluster_.alive() <= 2) return;
    const NodeId node{static_cast<std::uint16_t>(prng_.below(cluster_.nodes()))};
    if (!cluster_.up(node)) return;
    cluster_.crash(node, prng_);
    --may_die_;
    ++report_.crashes;
    // The next one, while all are busy with this.
    if (prng_.one_in(2)) crash_soon_ = 1 + prng_.below(60);
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

  void begin_work() {
    const std::size_t client = prng_.below(clients_.size());
    if (clients_[client].busy || !cluster_.up(clients_[client].node)) return;
    clients_[client].busy = true;
    const std::uint64_t number = ++last_number_;
    Work& work = works_[number];
    work.client = client;
    work.transaction.number = number;
    work.transaction.called = moment();
    const std::uint64_t kind = prng_.below(8);
    if (kind < 2) return begin_register(work);
    std::set<std::uint32_t> cells;
    const std::uint64_t count = kind == 2 ? cells_ : 1 + prng_.below(std::min<std::uint64_t>(cells_, 4));
    while (cells.size() < count) cells.insert(static_cast<std::uint32_t>(prng_.below(cells_)));
    work.to_read.assign(cells.begin(), cells.end());
    // Some only look. The others write some of what they read.
    if (kind > 3) {
      for (const std::uint32_t cell : cells) {
        if (work.transaction.writes.empty() || prng_.one_in(2)) work.transaction.writes.push_back(cell);
      }
    }
    continue_work(work);
  }

  void begin_register(Work& work) {
    work.is_register = true;
    const auto reg = static_cast<std::uint32_t>(prng_.below(registers_));
    const std::uint64_t number = work.transaction.number;
    const bool reads = prng_.one_in(2);
    work.operation = {.kind = reads ? RegisterKind::kRead : RegisterKind::kWrite,
                      .reg = reg,
                      .value = number,
                      .called = work.transaction.called};
    const NodeId node = clients_[work.client].node;
    const std::uint64_t address = address_of_register(reg);
    if (reads) return cluster_.step(node, [&](Core& core) { core.read(Ticket{number}, address, 8); });
    const durable::Item item{ItemKind::kWrite, address, std::as_bytes(std::span(&number, 1))};
    cluster_.step(node, [&](Core& core) { core.commit(Ticket{number}, std::span(&item, 1)); });
  }

  void continue_work(Work& work) {
    const NodeId node = clients_[work.client].node;
    const Ticket ticket{work.transaction.number};
    if (!work.to_read.empty()) {
      const std::uint64_t address = address_of_cell(work.to_read.back());
      work.read_called = moment();
      return cluster_.step(node, [&](Core& core) { core.read(ticket, address, sizeof(Cell)); });
    }
    work.committing = true;
    std::map<std::uint32_t, Cell> after = work.seen;
    std::int64_t sum = 0;
    for (const std::uint32_t cell : work.transaction.writes) {
      const auto amount = static_cast<std::int64_t>(prng_.below(100));
      after[cell] = {work.transaction.number, after[cell].balance + amount};
      sum += amount;
    }
    if (!work.transaction.writes.empty()) after[work.transaction.writes.back()].balance -= sum;
    std::vector<durable::Item> items;
    for (const auto& [cell, value] : work.seen)
      items.push_back({ItemKind::kCompare, address_of_cell(cell), std::as_bytes(std::span(&value, 1))});
    for (const std::uint32_t cell : work.transaction.writes)
      items.push_back({ItemKind::kWrite, address_of_cell(cell), std::as_bytes(std::span(&after[cell], 1))});
    for (const auto& [cell, value] : work.seen) work.transaction.reads[cell] = value.number;
    cluster_.step(node, [&](Core& core) { core.commit(ticket, items); });
  }

  void read_done(const durable::ReadDone& done) {
    CHECK(done.outcome == Outcome::kDone, static_cast<int>(done.outcome), done.block);
    ++report_.reads;
    Work& work = works_.at(done.ticket.value);
    if (work.is_register) {
      std::memcpy(&work.operation.value, done.bytes.data(), 8);
      return end_work(work, Outcome::kDone);
    }
    Cell cell;
    CHECK(done.bytes.size() == sizeof cell, done.bytes.size());
    std::memcpy(&cell, done.bytes.data(), sizeof cell);
    const std::uint32_t number = work.to_read.back();
    work.to_read.pop_back();
    work.seen[number] = cell;
    // What was read is a transaction of its own, whatever becomes of this one.
    history_.push_back({.number = ++last_number_,
                        .fate = Fate::kHappened,
                        .reads = {{number, cell.number}},
                        .called = work.read_called,
                        .returned = moment()});
    pending_.push_back(work.transaction.number);
    run_pending();
  }

  void commit_done(const durable::CommitDone& done) { end_work(works_.at(done.ticket.value), done.outcome); }

  // Works go on from here and not from within a step.
  void run_pending() {
    if (running_) return;
    running_ = true;
    while (!pending_.empty()) {
      Work& work = works_.at(pending_.back());
      pending_.pop_back();
      if (cluster_.up(clients_[work.client].node)) continue_work(work);
    }
    running_ = false;
  }

  void end_work(Work& work, Outcome outcome) {
    CHECK(outcome == Outcome::kDone || outcome == Outcome::kConflict, static_cast<int>(outcome));
    clients_[work.client].busy = false;
    work.transaction.returned = moment();
    work.transaction.fate = outcome == Outcome::kDone ? Fate::kHappened : Fate::kDidNotHappen;
    work.operation.returned = work.transaction.returned;
    work.operation.success = outcome == Outcome::kDone;
    if (work.is_register) return;
    ++(outcome == Outcome::kDone ? report_.committed : report_.conflicts);
    std::set<std::uint64_t> blocks;
    for (const auto& [cell, value] : work.transaction.reads) blocks.insert(block_of_cell(cell));
    report_.several += outcome == Outcome::kDone && blocks.size() > 1;
    if (outcome == Outcome::kDone && work.transaction.reads.size() == cells_) check_total(work);
  }

  // All accounts at one moment.
  void check_total(const Work& work) const {
    std::int64_t total = 0;
    for (const auto& [cell, value] : work.seen) total += value.balance;
    CHECK(total == 0, "money came or went", work.transaction.number, total);
  }

  void check_history() {
    std::vector<RegisterOperation> registers;
    for (const auto& [number, work] : works_) {
      if (!work.is_register) {
        // Who had not begun to commit cannot have.
        if (work.committing) history_.push_back(work.transaction);
        report_.unknown += work.committing && work.transaction.fate == Fate::kUnknown;
      } else if (work.transaction.fate != Fate::kDidNotHappen) {
        registers.push_back(work.operation);
      }
    }
    std::vector<std::uint64_t> last;
    std::int64_t total = 0;
    for (std::uint32_t cell = 0; cell < cells_; ++cell) {
      const Cell value = final_value(cell);
      last.push_back(value.number);
      total += value.balance;
    }
    if (const auto violation = find_violation(history_, last)) CHECK(false, *violation);
    if (const auto violation = find_violation(registers)) CHECK(false, *violation);
  }

  Cell final_value(std::uint32_t cell) {
    Cell value;
    const std::uint64_t address = address_of_cell(cell);
    const durable::Block* block = cluster_.primary(block_of_cell(cell)).block(block_of(page_of(address)));
    Bytes bytes(sizeof value);
    if (block != nullptr) block->image.read(static_cast<std::uint32_t>((address - kWindowBase) % kBlockBytes), bytes);
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }

  DurableWorkload workload_;
  Prng prng_;
  DurableClusterOptions options_;
  DurableCluster cluster_;
  std::uint32_t cells_ = 0, registers_ = 0;
  std::uint64_t crash_every_ = 0, join_every_ = 0, client_every_ = 0;
  std::uint64_t crash_soon_ = 0;  // steps; 0: not
  std::vector<Client> clients_;
  std::map<std::uint64_t, Work> works_;
  std::vector<DurableTransaction> history_;
  std::vector<std::uint64_t> pending_;
  bool running_ = false;
  std::uint64_t last_number_ = 0, moment_ = 0;
  std::optional<NodeId> paused_;
  unsigned may_die_ = 0;
  DurableReport report_;
};

}  // namespace

DurableReport run_durable(std::uint64_t seed, const DurableWorkload& workload) {
  return Simulation(seed, workload).run();
}

}  // namespace gallocy::sim
