#include "durable_clients.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "base/check.h"

namespace gallocy::sim {

using durable::ItemKind;
using durable::Outcome;
using durable::Ticket;
using Fate = DurableTransaction::Fate;
using RegisterKind = RegisterOperation::Kind;

DurableClients::DurableClients(Prng& prng, std::uint16_t nodes, Memory memory)
    : prng_(prng), memory_(std::move(memory)) {
  cells_ = static_cast<std::uint32_t>(1 + prng_.below(6));
  registers_ = static_cast<std::uint32_t>(1 + prng_.below(2));
  const std::uint64_t per_node = 1 + prng_.below(3);
  for (std::uint16_t n = 0; n < nodes; ++n) {
    for (std::uint64_t i = 0; i < per_node; ++i) clients_.push_back({.node = NodeId{n}});
  }
}

// Cells lie close together, some across the border of two pages.
std::uint64_t DurableClients::address_of_cell(std::uint32_t cell) const {
  const auto place = static_cast<std::uint32_t>(cell / memory_.blocks);
  return memory_.address(block_of_cell(cell), static_cast<std::uint32_t>(kPageBytes) - 8 + place * 24);
}

std::uint64_t DurableClients::address_of_register(std::uint32_t reg) const {
  return memory_.address(reg % memory_.blocks, 5 * kPageBytes + reg * 8);
}

std::size_t DurableClients::working() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      clients_, [this](const Client& client) { return client.work != 0 && memory_.up(client.node); }));
}

bool DurableClients::works_on(NodeId node) const {
  return std::ranges::any_of(clients_, [node](const Client& each) { return each.node == node && each.work != 0; });
}

bool DurableClients::goes_on(std::uint64_t number) const {
  const Client& client = clients_[works_.at(number).client];
  return client.work == number && memory_.up(client.node);
}

void DurableClients::node_ended(NodeId node) {
  for (Client& client : clients_) {
    if (client.node == node) client.work = 0;
  }
}

void DurableClients::begin_work() {
  const std::size_t client = prng_.below(clients_.size());
  const NodeId node = clients_[client].node;
  if (clients_[client].work != 0 || !memory_.up(node) || (memory_.begins && !memory_.begins(node))) return;
  const std::uint64_t number = clients_[client].work = ++last_number_;
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

void DurableClients::begin_register(Work& work) {
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
  if (reads) return memory_.read(node, Ticket{number}, address, 8);
  const durable::Item item{ItemKind::kWrite, address, std::as_bytes(std::span(&number, 1))};
  memory_.commit(node, Ticket{number}, std::span(&item, 1));
}

void DurableClients::continue_work(Work& work) {
  const NodeId node = clients_[work.client].node;
  const Ticket ticket{work.transaction.number};
  if (!work.to_read.empty()) {
    const std::uint64_t address = address_of_cell(work.to_read.back());
    work.read_called = moment();
    return memory_.read(node, ticket, address, sizeof(Cell));
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
  memory_.commit(node, ticket, items);
}

void DurableClients::read_done(const durable::ReadDone& done) {
  CHECK(done.outcome == Outcome::kDone, static_cast<int>(done.outcome), done.block);
  if (!goes_on(done.ticket.value)) return;
  ++counters_.reads;
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

void DurableClients::commit_done(const durable::CommitDone& done) {
  if (goes_on(done.ticket.value)) end_work(works_.at(done.ticket.value), done.outcome);
}

// Works go on from here and not from within a step.
void DurableClients::run_pending() {
  if (running_) return;
  running_ = true;
  while (!pending_.empty()) {
    const std::uint64_t number = pending_.back();
    pending_.pop_back();
    if (goes_on(number)) continue_work(works_.at(number));
  }
  running_ = false;
}

void DurableClients::end_work(Work& work, Outcome outcome) {
  CHECK(outcome == Outcome::kDone || outcome == Outcome::kConflict, static_cast<int>(outcome));
  clients_[work.client].work = 0;
  work.transaction.returned = moment();
  work.transaction.fate = outcome == Outcome::kDone ? Fate::kHappened : Fate::kDidNotHappen;
  work.operation.returned = work.transaction.returned;
  work.operation.success = outcome == Outcome::kDone;
  if (work.is_register) return;
  ++(outcome == Outcome::kDone ? counters_.committed : counters_.conflicts);
  std::set<std::uint64_t> blocks;
  for (const auto& [cell, value] : work.transaction.reads) blocks.insert(block_of_cell(cell));
  counters_.several += outcome == Outcome::kDone && blocks.size() > 1;
  if (outcome == Outcome::kDone && work.transaction.reads.size() == cells_) check_total(work);
}

// All accounts at one moment.
void DurableClients::check_total(const Work& work) const {
  std::int64_t total = 0;
  for (const auto& [cell, value] : work.seen) total += value.balance;
  CHECK(total == 0, "money came or went", work.transaction.number, total);
}

void DurableClients::check_history() {
  std::vector<RegisterOperation> registers;
  for (const auto& [number, work] : works_) {
    if (!work.is_register) {
      // Who had not begun to commit cannot have.
      if (work.committing) history_.push_back(work.transaction);
      counters_.unknown += work.committing && work.transaction.fate == Fate::kUnknown;
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
  CHECK(total == 0, "money came or went", total);
  if (const auto violation = find_violation(history_, last)) CHECK(false, *violation);
  if (const auto violation = find_violation(registers)) CHECK(false, *violation);
}

DurableClients::Cell DurableClients::final_value(std::uint32_t cell) const {
  Cell value;
  const std::uint64_t address = address_of_cell(cell);
  const durable::Block* block = memory_.primary(block_of_cell(cell)).block(block_of(page_of(address)));
  durable::Bytes bytes(sizeof value);
  if (block != nullptr) block->image.read(static_cast<std::uint32_t>((address - kWindowBase) % kBlockBytes), bytes);
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

}  // namespace gallocy::sim
