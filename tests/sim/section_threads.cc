#include "section_threads.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "base/check.h"

namespace gallocy::sim {
namespace {

using durable::Section;
using sync::Outcome;
using Fate = DurableTransaction::Fate;

constexpr std::size_t kThreadsOfNode = 2;
constexpr std::uint64_t kThinkUs = 300;
constexpr std::uint64_t kPagesOfLock = 2, kFirstPage = 16;  // beyond what other clients use
constexpr std::size_t kMostLocks = 4, kCellsOfLock = 2;

}  // namespace

SectionThreads::SectionThreads(Prng& prng, WholeCluster& cluster, LockLedger& ledger, const WholeOptions& options)
    : prng_(prng), cluster_(cluster), ledger_(ledger), options_(options) {
  for (std::uint16_t n = 0; n < WholeMemory::kMostNodes; ++n) {
    for (std::size_t i = 0; i < kThreadsOfNode; ++i)
      threads_.push_back({.node = NodeId{n}, .number = kFirstWaiter + threads_.size()});
  }
  locks_ = 1 + prng_.below(kMostLocks);
  cells_ = static_cast<std::uint32_t>(locks_ * kCellsOfLock);
}

PageId SectionThreads::first_page(std::size_t lock) const {
  const std::uint64_t place = kFirstPage + lock / options_.blocks * kPagesOfLock;
  return page_of(cluster_.address(lock % options_.blocks, static_cast<std::uint32_t>(place * kPageBytes)));
}

// The first of a lock's cells lies across the border of its pages.
std::uint64_t SectionThreads::address_of_cell(std::uint32_t cell) const {
  return address_of(first_page(cell % locks_)) + kPageBytes - 8 + cell / locks_ * 128;
}

// As in runtime/sections.cc.
sync::SyncId SectionThreads::mutex_of(std::size_t lock) const {
  return sync::named_id(fmt::format("gallocy.durable lock {:#x}", address_of(first_page(lock))));
}

// ---------------------------------------------------------------------------------------------- lives

std::size_t SectionThreads::working() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(threads_, [](const Thread& thread) { return !thread.locks.empty(); }));
}

bool SectionThreads::works_on(NodeId node) const {
  return std::ranges::any_of(threads_, [node](const Thread& each) { return each.node == node && !each.locks.empty(); });
}

void SectionThreads::node_ended(NodeId node) {
  for (Thread& thread : threads_) {
    if (thread.node != node || thread.locks.empty()) continue;
    counters_.unknown += thread.committing;
    counters_.cut_off += thread.section && !thread.committing && !thread.ends;
    if (thread.committing) history_.push_back(thread.transaction);
    end(thread);
  }
}

void SectionThreads::begin_work() {
  Thread& thread = threads_[prng_.below(cluster_.nodes() * kThreadsOfNode)];
  if (!thread.locks.empty() || !cluster_.serves(thread.node) || !cluster_.sync()->is_introduced(thread.node)) return;
  if (cluster_.log().leaving(thread.node)) return;
  choose(thread);
  step(thread);
}

void SectionThreads::choose(Thread& thread) {
  thread.since = cluster_.now();
  thread.transaction = {.number = ++last_number_, .called = ++moment_};
  std::set<std::uint32_t> cells;
  const std::uint64_t count = prng_.one_in(6) ? cells_ : 1 + prng_.below(std::min(cells_, 3u));
  while (cells.size() < count) cells.insert(static_cast<std::uint32_t>(prng_.below(cells_)));
  std::set<std::size_t> locks;
  for (const std::uint32_t cell : cells) {
    locks.insert(cell % locks_);
    if (prng_.one_in(2)) thread.transaction.writes.push_back(cell);
  }
  thread.cells.assign(cells.begin(), cells.end());
  thread.locks.assign(locks.begin(), locks.end());
}

void SectionThreads::end(Thread& thread) {
  const NodeId node = thread.node;
  const std::uint64_t number = thread.number, turn = thread.turn + 1;
  thread = {.node = node, .number = number, .turn = turn};
}

// Never from within the step of a core.
void SectionThreads::go_on(Thread& thread) {
  cluster_.log().at(prng_.below(kThinkUs), [this, &thread, turn = ++thread.turn] {
    if (thread.turn == turn) step(thread);
  });
}

void SectionThreads::step(Thread& thread) {
  if (thread.ends) return let_go(thread), end(thread);
  if (thread.held < thread.locks.size()) return take(thread);
  if (!thread.section) enter(thread);
  if (!thread.cells.empty()) return touch(thread);
  end_section(thread);
}

// ---------------------------------------------------------------------------------------------- locks

void SectionThreads::take(Thread& thread) {
  thread.waits = true;
  const sync::SyncId id = mutex_of(thread.locks[thread.held]);
  const sync::WaiterId waiter{thread.number};
  const Outcome outcome = cluster_.sync()->call(
      thread.node, [&](sync::Core& core, sync::Effects& effects) { return core.lock(id, waiter, effects); });
  if (outcome != Outcome::kPending) woken(thread.node, waiter, outcome);
}

void SectionThreads::woken(NodeId node, sync::WaiterId waiter, Outcome outcome) {
  Thread& thread = threads_[waiter.value - kFirstWaiter];
  CHECK(thread.node == node && thread.waits, "a wake for nobody", node, waiter);
  thread.waits = false;
  ledger_.granted(mutex_of(thread.locks[thread.held]), sync::LockMode::kExclusive, {node, thread.number}, outcome);
  thread.owner_died = thread.owner_died || outcome == Outcome::kOwnerDied;
  ++thread.held;
  go_on(thread);
}

void SectionThreads::let_go(Thread& thread) {
  while (thread.held > 0) {
    const sync::SyncId id = mutex_of(thread.locks[--thread.held]);
    ledger_.released(id, {thread.node, thread.number});
    const Outcome outcome = cluster_.sync()->call(
        thread.node, [&](sync::Core& core, sync::Effects& effects) { return core.unlock(id, effects); });
    CHECK(outcome == Outcome::kGranted, "it was not held", id, thread.node);
  }
}

// ---------------------------------------------------------------------------------------------- loads and stores

void SectionThreads::enter(Thread& thread) {
  counters_.owner_died += thread.owner_died;
  std::vector<durable::PageRange> ranges;
  for (const std::size_t lock : thread.locks) ranges.push_back({first_page(lock), kPagesOfLock});
  thread.section.emplace(std::move(ranges));
}

// The access is the fault: the section says whether the page may be touched.
bool SectionThreads::may_touch(Thread& thread, PageId page, Access want) {
  durable::Bytes& frame = thread.frames[page];
  frame.resize(kPageBytes);
  if (thread.section->access(page) >= want || thread.section->touch(page, want, frame) == Section::Step::kOpen)
    return true;
  const durable::Ticket ticket{++last_ticket_};
  tickets_[ticket.value] = {static_cast<std::size_t>(&thread - threads_.data()), thread.transaction.number};
  thread.fetching = page;
  cluster_.read(thread.node, ticket, address_of(page), kPageBytes, durable::Await::kAll);
  return false;
}

// False: a page has to come first.
bool SectionThreads::access(Thread& thread, std::uint64_t address, std::span<std::byte> bytes, bool store) {
  const std::size_t in_first = std::min<std::size_t>(bytes.size(), kPageBytes - address % kPageBytes);
  for (const auto& [at, part] :
       {std::pair{address, bytes.first(in_first)}, std::pair{address + in_first, bytes.subspan(in_first)}}) {
    if (part.empty()) continue;
    const PageId page = page_of(at);
    const bool late = store && is(WholeBug::kSectionTwin) && thread.section->access(page) == Access::kRead;
    if (late) std::ranges::copy(part, thread.frames[page].data() + at % kPageBytes);
    if (!may_touch(thread, page, store ? Access::kWrite : Access::kRead)) return false;
    std::byte* const there = thread.frames[page].data() + at % kPageBytes;
    if (store) {
      std::ranges::copy(part, there);
    } else {
      std::copy_n(there, part.size(), part.begin());
    }
  }
  return true;
}

// Money moves from the last of the cells that are written to the others.
void SectionThreads::touch(Thread& thread) {
  const std::uint32_t cell = thread.cells.back();
  const std::vector<std::uint32_t>& writes = thread.transaction.writes;
  Cell value;
  if (!access(thread, address_of_cell(cell), std::as_writable_bytes(std::span(&value, 1)), false)) return;
  if (thread.seen.emplace(cell, value).second) thread.transaction.reads[cell] = value.number;
  if (std::ranges::count(writes, cell) > 0) {
    const auto amount = static_cast<std::int64_t>(thread.transaction.number % 97);
    const auto others = static_cast<std::int64_t>(writes.size()) - 1;
    Cell after{thread.transaction.number,
               thread.seen.at(cell).balance + (cell == writes.back() ? -amount * others : amount)};
    if (!access(thread, address_of_cell(cell), std::as_writable_bytes(std::span(&after, 1)), true)) return;
  }
  thread.cells.pop_back();
  go_on(thread);
}

void SectionThreads::read_done(const durable::ReadDone& done) {
  CHECK(done.outcome == durable::Outcome::kDone, static_cast<int>(done.outcome), done.block);
  const auto [which, number] = tickets_.at(done.ticket.value);
  Thread& thread = threads_[which];
  if (thread.transaction.number != number || !thread.fetching) return;
  const PageId page = *std::exchange(thread.fetching, std::nullopt);
  thread.frames[page] = done.bytes;
  thread.section->fetched(page, done.bytes);
  go_on(thread);
}

// ---------------------------------------------------------------------------------------------- the end

void SectionThreads::end_section(Thread& thread) {
  if (prng_.one_in(10)) {
    ++counters_.rolled_back;
    thread.transaction.fate = Fate::kDidNotHappen;
    thread.ends = true;
    history_.push_back(thread.transaction);
    if (!is(WholeBug::kSectionUndone)) return go_on(thread);
  }
  const auto items =
      thread.section->items([&](PageId page) { return std::span<const std::byte>(thread.frames.at(page)); });
  const durable::Ticket ticket{++last_ticket_};
  tickets_[ticket.value] = {static_cast<std::size_t>(&thread - threads_.data()), thread.transaction.number};
  thread.committing = true;
  if (is(WholeBug::kSectionEarly)) let_go(thread);
  cluster_.commit(thread.node, ticket, items);
}

void SectionThreads::commit_done(const durable::CommitDone& done) {
  const auto [which, number] = tickets_.at(done.ticket.value);
  Thread& thread = threads_[which];
  if (thread.transaction.number != number || !thread.committing) return;
  // Their locks pass on as they should, whoever dies.
  CHECK(done.outcome == durable::Outcome::kDone, "a section has a conflict", thread.node,
        static_cast<int>(done.outcome));
  thread.committing = false;
  if (!std::exchange(thread.ends, true)) {
    thread.transaction.fate = Fate::kHappened;
    thread.transaction.returned = ++moment_;
    history_.push_back(thread.transaction);
    ++counters_.committed;
  }
  go_on(thread);
}

void SectionThreads::check_history() {
  std::vector<std::uint64_t> last;
  std::int64_t total = 0;
  for (std::uint32_t cell = 0; cell < cells_; ++cell) {
    const std::uint64_t address = address_of_cell(cell);
    const durable::Core& primary = cluster_.primary(cell % locks_ % options_.blocks);
    const durable::Block* const block = primary.block(block_of(page_of(address)));
    durable::Bytes bytes(sizeof(Cell));
    if (block != nullptr) block->image.read(static_cast<std::uint32_t>((address - kWindowBase) % kBlockBytes), bytes);
    Cell value;
    std::memcpy(&value, bytes.data(), sizeof value);
    last.push_back(value.number);
    total += value.balance;
  }
  if (const auto violation = find_violation(history_, last)) CHECK(false, "sections", *violation);
  CHECK(total == 0, "money came or went in sections", total);
}

std::string SectionThreads::describe() const {
  std::string text;
  for (const Thread& thread : threads_) {
    if (thread.locks.empty()) continue;
    text += fmt::format("\n section {} of node {} for {} µs: has {} of {} locks{}{}{}", thread.transaction.number,
                        thread.node, cluster_.now() - thread.since, thread.held, thread.locks.size(),
                        thread.waits ? ", waits" : "", thread.fetching ? ", fetches" : "",
                        thread.committing ? ", commits" : "");
  }
  return text;
}

}  // namespace gallocy::sim
