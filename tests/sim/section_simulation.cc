#include "section_simulation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "base/check.h"
#include "durable/section.h"
#include "durable_checker.h"
#include "durable_cluster.h"

namespace gallocy::sim {
namespace {

using durable::Bytes;
using durable::Core;
using durable::Item;
using durable::ItemKind;
using durable::Outcome;
using durable::Section;
using durable::Ticket;
using Fate = DurableTransaction::Fate;

constexpr std::uint64_t kSteps = 2500;         // how long things go on
constexpr std::uint64_t kRestSteps = 200'000;  // and how long they may take to come to rest

// What a cell holds. The number says which section wrote it.
struct Cell {
  std::uint64_t number = 0;
  std::int64_t balance = 0;
};

DurableClusterOptions cluster_options(std::uint64_t seed, const SectionWorkload& workload) {
  Prng prng(seed * 77 + 5);
  DurableClusterOptions o;
  o.seed = prng();
  o.trace = workload.trace;
  o.nodes = static_cast<std::uint16_t>(3 + prng.below(3));
  o.backups = static_cast<unsigned>(1 + prng.below(2));
  o.blocks = 1 + prng.below(3);
  o.core.mutant = workload.mutant;
  o.disks = workload.restarts;
  o.core.pages_in_flight = static_cast<unsigned>(1 + prng.below(4));
  o.core.most_put_off = 1 + prng.below(8);
  o.flush_every = prng.one_in(3) ? 1 : 1 + prng.below(100);
  return o;
}

class Simulation {
 public:
  Simulation(std::uint64_t seed, const SectionWorkload& workload)
      : workload_(workload), prng_(seed), options_(cluster_options(seed, workload)), cluster_(options_) {
    locks_.resize(1 + prng_.below(4));
    cells_ = static_cast<std::uint32_t>(locks_.size() * (1 + prng_.below(4)));
    crash_every_ = 50 + prng_.below(1000);
    client_every_ = 2 + prng_.below(20);
    eager_ = prng_.one_in(2);
    doom_every_ = 2 + prng_.below(30);
    pass_every_ = 20 + prng_.below(300);
    clients_ = 1 + prng_.below(3);
    cluster_.on_read = [this](NodeId, const durable::ReadDone& done) { read_done(done); };
    cluster_.on_commit = [this](NodeId, const durable::CommitDone& done) { commit_done(done); };
  }

  SectionReport run() {
    for (std::uint64_t step = 0; step < kSteps; ++step) one_step();
    go_on();
    publish();
    std::uint64_t rest = 0;
    while (cluster_.deliver(prng_) || go_on_with_all()) CHECK(++rest < kRestSteps, "no rest");
    cluster_.check_rest();
    check_history();
    report_.digest = cluster_.digest();
    report_.messages = cluster_.messages();
    report_.epochs = cluster_.epochs();
    return report_;
  }

 private:
  // What a client does: it takes its locks one by one, touches its cells one by one, and ends.
  struct Work {
    NodeId node{};
    DurableTransaction transaction;
    bool past_locks = false;           // a transaction on the cells, without a section
    std::vector<std::size_t> locks{};  // ascending
    std::size_t locked = 0;
    bool owner_died = false;
    std::vector<std::uint32_t> cells{};  // those that it touches, the last of them first
    std::map<std::uint32_t, Cell> seen{};
    std::optional<Section> section{};
    std::map<PageId, Bytes> frames{};
    unsigned fetching = 0, committing = 0;
    std::vector<Item> later{};  // kCommitByPage: what is to be committed after this
    Outcome outcome = Outcome::kDone;
  };
  struct Lock {
    std::uint64_t holder = 0;  // a work's number; 0: nobody
    bool owner_died = false;
    Epoch free_from{};                  // its holder died: the epoch in which it passes on; 0: not known yet
    NodeId orphan_of = kNoNode;         // that died, and the log does not say so yet
    std::map<PageId, Bytes> kept[8]{};  // kKeepPages: by node
  };

  std::uint64_t moment() { return ++moment_; }
  std::size_t lock_of_cell(std::uint32_t cell) const { return cell % locks_.size(); }
  std::uint64_t block_of_lock(std::size_t lock) const { return lock % options_.blocks; }
  // A lock covers three pages. Some of its cells lie across the border of two of them.
  PageId first_page_of_lock(std::size_t lock) const {
    return page_of(cluster_.address(block_of_lock(lock), static_cast<std::uint32_t>(lock * 3 * kPageBytes)));
  }
  std::uint64_t address_of_cell(std::uint32_t cell) const {
    return address_of(first_page_of_lock(lock_of_cell(cell))) + kPageBytes - 8 +
           cell / locks_.size() * (kPageBytes / 2);
  }

  // -------------------------------------------------------------------------------------------- what happens

  void one_step() {
    if (prng_.one_in(client_every_)) begin_work();
    if (workload_.crashes && prng_.one_in(crash_every_))
      crash(NodeId{static_cast<std::uint16_t>(prng_.below(cluster_.nodes()))});
    if (workload_.restarts && prng_.one_in(600)) restart();
    // A committer in the midst of it.
    if (doomed_ && prng_.one_in(2)) crash(*std::exchange(doomed_, std::nullopt));
    if (prng_.one_in(300)) pause();
    if (paused_ && cluster_.up(*paused_) && prng_.one_in(60)) go_on();
    if (!cluster_.published() && prng_.one_in(30)) publish();
    if (!workload_.orderly && prng_.one_in(pass_every_)) pass_a_lock();
    // Either at their leisure, or at once: then only messages take time.
    if (eager_) {
      while (go_on_with_all()) {
      }
    } else if (!active_.empty() && prng_.one_in(3)) {
      (void)go_on_with(*std::next(active_.begin(), prng_.below(active_.size())));
    }
    (void)cluster_.deliver(prng_);
  }

  void crash(NodeId node) {
    if (cluster_.restored()) may_die_ = std::min(options_.backups, cluster_.alive() - 1);
    if (may_die_ == 0 || cluster_.alive() <= 2 || !cluster_.up(node)) return;
    cluster_.crash(node, prng_);
    --may_die_;
    ++report_.crashes;
    end_works_of(node);
  }

  void end_works_of(NodeId node) {
    for (const std::uint64_t number : std::set(active_)) {
      const Work& work = works_.at(number);
      if (work.node != node) continue;
      active_.erase(number);
      report_.unknown += work.committing > 0;
      report_.cut_off += work.section && work.committing == 0;
      for (Lock& lock : locks_) {
        if (lock.holder != number) continue;
        lock.holder = 0, lock.owner_died = true;
        if (workload_.misuse != SectionMisuse::kPassInEpoch) lock.orphan_of = node;
      }
    }
  }

  // All at once, or some of them. Their locks pass on with the epochs in which they are back.
  void restart() {
    std::vector<NodeId> nodes = cluster_.members();
    if (prng_.one_in(3)) std::erase_if(nodes, [&](NodeId) { return prng_.one_in(2); });
    for (const NodeId node : nodes) {
      end_works_of(node);
      if (paused_ == node) go_on();
    }
    cluster_.restart(nodes, prng_);
    free_orphans([this](NodeId node) { return cluster_.up(node); });
    ++report_.restarts;
  }

  void publish() {
    cluster_.publish();
    free_orphans([](NodeId) { return true; });
  }

  template <typename F>
  void free_orphans(F known) {
    const Epoch epoch{static_cast<std::uint32_t>(cluster_.epochs())};
    for (Lock& lock : locks_) {
      if (lock.orphan_of == kNoNode || !known(lock.orphan_of)) continue;
      lock.orphan_of = kNoNode;
      lock.free_from = epoch;
    }
  }

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

  // Its holder is taken for dead, and is not.
  void pass_a_lock() {
    Lock& lock = locks_[prng_.below(locks_.size())];
    lock.owner_died = lock.owner_died || lock.holder != 0;
    lock.holder = 0;
    lock.orphan_of = kNoNode;
  }

  // -------------------------------------------------------------------------------------------- clients

  void begin_work() {
    const NodeId node{static_cast<std::uint16_t>(prng_.below(cluster_.nodes()))};
    const auto of_node = [&](std::uint64_t number) { return works_.at(number).node == node; };
    if (!cluster_.up(node) || std::ranges::count_if(active_, of_node) >= static_cast<std::ptrdiff_t>(clients_)) return;
    const std::uint64_t number = ++last_number_;
    Work& work = works_[number];
    work.node = node;
    work.transaction.number = number;
    work.transaction.called = moment();
    work.past_locks = !workload_.orderly && prng_.one_in(4);
    report_.transactions += work.past_locks;
    std::set<std::uint32_t> cells;
    const std::uint64_t count = prng_.one_in(8) ? cells_ : 1 + prng_.below(std::min(cells_, 4u));
    while (cells.size() < count) cells.insert(static_cast<std::uint32_t>(prng_.below(cells_)));
    std::set<std::size_t> locks;
    for (const std::uint32_t cell : cells) {
      work.cells.push_back(cell);
      locks.insert(lock_of_cell(cell));
      if (prng_.one_in(2)) work.transaction.writes.push_back(cell);
    }
    if (count == cells_ && prng_.one_in(2)) work.transaction.writes.clear();
    if (!work.past_locks) work.locks.assign(locks.begin(), locks.end());
    active_.insert(number);
  }

  // One thing that a client does next; false: it waits.
  bool go_on_with(std::uint64_t number) {
    Work& work = works_.at(number);
    if (work.fetching > 0 || work.committing > 0) return false;
    if (work.locked < work.locks.size()) return take_lock(work);
    if (!work.past_locks && !work.section) return enter(work), true;
    if (!work.cells.empty()) return work.past_locks ? look_at_cell(work) : touch_cell(work);
    if (work.past_locks) return commit(work, items_of_transaction(work)), true;
    return end_section(work), true;
  }
  bool go_on_with_all() {
    bool any = false;
    for (const std::uint64_t number : std::set(active_)) any = (active_.contains(number) && go_on_with(number)) || any;
    return any;
  }

  bool take_lock(Work& work) {
    Lock& lock = locks_[work.locks[work.locked]];
    if (lock.holder != 0 || lock.orphan_of != kNoNode || cluster_.core(work.node).epoch() < lock.free_from)
      return false;
    lock.holder = work.transaction.number;
    work.owner_died = work.owner_died || std::exchange(lock.owner_died, false);
    ++work.locked;
    return true;
  }

  void enter(Work& work) {
    report_.owner_died += work.owner_died;
    std::vector<durable::PageRange> ranges;
    for (const std::size_t lock : work.locks) ranges.push_back({first_page_of_lock(lock), 3});
    work.section.emplace(std::move(ranges));
    work.section->set_mutant(workload_.mutant);
    if (workload_.misuse != SectionMisuse::kKeepPages) return;
    for (const std::size_t lock : work.locks) {
      for (const auto& [page, bytes] : locks_[lock].kept[work.node.value]) {
        work.frames[page] = bytes;
        (void)work.section->touch(page, Access::kRead, bytes);
        work.section->fetched(page, bytes);
      }
    }
  }

  // The access is the fault: the section says whether the page may be touched.
  bool may_touch(Work& work, PageId page, Access want) {
    Bytes& frame = work.frames[page];
    frame.resize(kPageBytes);
    if (work.section->access(page) >= want) return true;
    const Section::Step step = work.section->touch(page, want, frame);
    if (step == Section::Step::kOpen) return true;
    CHECK(step == Section::Step::kFetch, "two fetches");
    const Ticket ticket{++last_ticket_};
    fetches_[ticket.value] = {work.transaction.number, page};
    ++work.fetching;
    cluster_.step(work.node,
                  [&](Core& core) { core.read(ticket, address_of(page), kPageBytes, durable::Await::kAll); });
    return false;
  }

  bool touch_cell(Work& work) {
    const std::uint32_t cell = work.cells.back();
    const std::uint64_t address = address_of_cell(cell);
    const bool writes = std::ranges::count(work.transaction.writes, cell) > 0;
    Cell value;
    if (!access(work, address, std::as_writable_bytes(std::span(&value, 1)), false)) return true;
    if (work.seen.emplace(cell, value).second) work.transaction.reads[cell] = value.number;
    const Cell after = cell_after(work, cell);
    if (writes && !access(work, address, std::as_writable_bytes(std::span(const_cast<Cell*>(&after), 1)), true))
      return true;
    work.cells.pop_back();
    return true;
  }

  // Loads or stores; false: a page has to come first.
  bool access(Work& work, std::uint64_t address, std::span<std::byte> bytes, bool store) {
    const Access want = store ? Access::kWrite : Access::kRead;
    const std::size_t in_first = std::min<std::size_t>(bytes.size(), kPageBytes - address % kPageBytes);
    for (const auto& [at, part] :
         {std::pair{address, bytes.first(in_first)}, std::pair{address + in_first, bytes.subspan(in_first)}}) {
      if (part.empty()) continue;
      const PageId page = page_of(at);
      const bool late =
          store && workload_.misuse == SectionMisuse::kLateTwin && work.section->access(page) == Access::kRead;
      std::byte* const place = work.frames[page].data() + at % kPageBytes;
      if (late) std::ranges::copy(part, place);
      if (!may_touch(work, page, want)) return false;
      std::byte* const there = work.frames[page].data() + at % kPageBytes;
      if (store) {
        std::ranges::copy(part, there);
      } else {
        std::copy_n(there, part.size(), part.begin());
      }
    }
    return true;
  }

  // Money moves from the last of the cells that are written to the others.
  Cell cell_after(const Work& work, std::uint32_t cell) const {
    const auto& writes = work.transaction.writes;
    const auto amount = static_cast<std::int64_t>(work.transaction.number % 97);
    const auto others = static_cast<std::int64_t>(writes.size()) - 1;
    const bool last = !writes.empty() && cell == writes.back();
    return {work.transaction.number, work.seen.at(cell).balance + (last ? -amount * others : amount)};
  }

  bool look_at_cell(Work& work) {
    const std::uint32_t cell = work.cells.back();
    const Ticket ticket{++last_ticket_};
    looks_[ticket.value] = {work.transaction.number, cell};
    ++work.fetching;
    cluster_.step(work.node, [&](Core& core) { core.read(ticket, address_of_cell(cell), sizeof(Cell)); });
    return true;
  }

  void read_done(const durable::ReadDone& done) {
    CHECK(done.outcome == Outcome::kDone, static_cast<int>(done.outcome), done.block);
    if (const auto look = looks_.find(done.ticket.value); look != looks_.end()) {
      Work& work = works_.at(look->second.first);
      Cell value;
      std::memcpy(&value, done.bytes.data(), sizeof value);
      work.seen[look->second.second] = value;
      work.transaction.reads[look->second.second] = value.number;
      work.cells.pop_back();
      --work.fetching;
      return;
    }
    const auto [number, page] = fetches_.at(done.ticket.value);
    Work& work = works_.at(number);
    work.frames[page] = done.bytes;
    work.section->fetched(page, done.bytes);
    --work.fetching;
  }

  // -------------------------------------------------------------------------------------------- the end

  std::vector<Item> items_of_transaction(Work& work) {
    std::vector<Item> items;
    after_.clear();
    for (const auto& [cell, value] : work.seen)
      items.push_back({ItemKind::kCompare, address_of_cell(cell), std::as_bytes(std::span(&value, 1))});
    for (const std::uint32_t cell : work.transaction.writes) {
      after_[cell] = cell_after(work, cell);
      items.push_back({ItemKind::kWrite, address_of_cell(cell), std::as_bytes(std::span(&after_[cell], 1))});
    }
    return items;
  }

  void end_section(Work& work) {
    const bool rolls_back = prng_.one_in(10);
    if (rolls_back) {
      ++report_.rolled_back;
      work.transaction.fate = Fate::kDidNotHappen;
      if (workload_.misuse != SectionMisuse::kCommitAnyway) return end(work);
    }
    auto items = work.section->items([&](PageId page) { return std::span<const std::byte>(work.frames.at(page)); });
    if (workload_.misuse == SectionMisuse::kPassEarly) let_go(work);
    if (workload_.misuse == SectionMisuse::kCommitByPage) {
      const auto other = std::ranges::find_if(
          items, [&](const Item& item) { return page_of(item.address) != page_of(items.front().address); });
      work.later.assign(other, items.end());
      items.erase(other, items.end());
    }
    commit(work, items);
  }

  void commit(Work& work, const std::vector<Item>& items) {
    work.committing = 1;
    if (workload_.crashes && !doomed_ && prng_.one_in(doom_every_)) doomed_ = work.node;
    cluster_.step(work.node, [&](Core& core) { core.commit(Ticket{work.transaction.number}, items); });
  }

  void commit_done(const durable::CommitDone& done) {
    Work& work = works_.at(done.ticket.value);
    CHECK(done.outcome == Outcome::kDone || done.outcome == Outcome::kConflict, static_cast<int>(done.outcome));
    CHECK(done.outcome == Outcome::kDone || !workload_.orderly, "a section has a conflict", done.ticket);
    if (done.outcome == Outcome::kDone && !work.later.empty())
      return commit_later_.push_back(work.transaction.number), commit_the_rest();
    if (work.transaction.fate == Fate::kUnknown)
      work.transaction.fate = done.outcome == Outcome::kDone ? Fate::kHappened : Fate::kDidNotHappen;
    work.transaction.returned = moment();
    ++(done.outcome == Outcome::kDone ? report_.committed : report_.conflicts);
    if (done.outcome == Outcome::kDone) check_total(work);
    std::set<std::uint64_t> blocks;
    for (const auto& [cell, number] : work.transaction.reads) blocks.insert(block_of_lock(lock_of_cell(cell)));
    report_.several += done.outcome == Outcome::kDone && blocks.size() > 1;
    keep_pages(work);
    end(work);
  }

  // Not from within the step in which the first was done.
  void commit_the_rest() {
    if (committing_rest_) return;
    committing_rest_ = true;
    while (!commit_later_.empty()) {
      Work& work = works_.at(commit_later_.back());
      commit_later_.pop_back();
      const auto items = std::exchange(work.later, {});
      commit(work, items);
    }
    committing_rest_ = false;
  }

  void keep_pages(const Work& work) {
    if (workload_.misuse != SectionMisuse::kKeepPages) return;
    for (const std::size_t lock : work.locks) {
      for (const auto& [page, bytes] : work.frames) {
        if (page.value - first_page_of_lock(lock).value < 3) locks_[lock].kept[work.node.value][page] = bytes;
      }
    }
  }

  void let_go(const Work& work) {
    for (Lock& lock : locks_) {
      if (lock.holder == work.transaction.number) lock.holder = 0;
    }
  }

  void end(Work& work) {
    let_go(work);
    active_.erase(work.transaction.number);
  }

  // -------------------------------------------------------------------------------------------- checks

  void check_total(const Work& work) const {
    std::int64_t total = 0;
    if (work.seen.size() < cells_) return;
    for (const auto& [cell, value] : work.seen) total += value.balance;
    CHECK(total == 0, "money came or went", work.transaction.number, total);
  }

  void check_history() {
    CHECK(active_.empty(), "hangs", active_.size());
    std::vector<DurableTransaction> history;
    for (const auto& [number, work] : works_) {
      if (work.committing > 0 || work.transaction.fate == Fate::kDidNotHappen) history.push_back(work.transaction);
    }
    std::vector<std::uint64_t> last;
    std::int64_t total = 0;
    for (std::uint32_t cell = 0; cell < cells_; ++cell) {
      const std::uint64_t address = address_of_cell(cell);
      const durable::Block* block =
          cluster_.primary(block_of_lock(lock_of_cell(cell))).block(block_of(page_of(address)));
      Bytes bytes(sizeof(Cell));
      if (block != nullptr) block->image.read(static_cast<std::uint32_t>((address - kWindowBase) % kBlockBytes), bytes);
      Cell value;
      std::memcpy(&value, bytes.data(), sizeof value);
      last.push_back(value.number);
      total += value.balance;
    }
    if (const auto violation = find_violation(history, last)) CHECK(false, *violation);
    CHECK(total == 0, "money came or went", total);
  }

  SectionWorkload workload_;
  Prng prng_;
  DurableClusterOptions options_;
  DurableCluster cluster_;
  std::vector<Lock> locks_;
  std::uint32_t cells_ = 0;
  bool eager_ = false;
  std::uint64_t crash_every_ = 0, client_every_ = 0, doom_every_ = 0, pass_every_ = 0, clients_ = 0;
  std::map<std::uint64_t, Work> works_;
  std::set<std::uint64_t> active_;
  std::map<std::uint64_t, std::pair<std::uint64_t, PageId>> fetches_;       // by ticket: of which work
  std::map<std::uint64_t, std::pair<std::uint64_t, std::uint32_t>> looks_;  // the same, and at which cell
  std::map<std::uint32_t, Cell> after_;
  std::vector<std::uint64_t> commit_later_;
  bool committing_rest_ = false;
  std::uint64_t last_number_ = 0, last_ticket_ = 0, moment_ = 0;
  std::optional<NodeId> paused_;
  std::optional<NodeId> doomed_;
  unsigned may_die_ = 0;
  SectionReport report_;
};

}  // namespace

SectionReport run_sections(std::uint64_t seed, const SectionWorkload& workload) {
  return Simulation(seed, workload).run();
}

}  // namespace gallocy::sim
