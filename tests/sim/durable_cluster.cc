#include "durable_cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>

#include "base/check.h"

namespace gallocy::durable {

std::uint64_t digest(const Message& message) {
  std::uint64_t sum = static_cast<std::uint64_t>(message.verb);
  for (const std::byte b : encode(message)) sum = sim::mix(sum, std::to_integer<std::uint64_t>(b));
  return sum;
}

}  // namespace gallocy::durable

namespace gallocy::sim {
namespace {

using durable::Company;
using durable::Core;
using durable::Message;

constexpr const char* kVerbs[] = {"Read",   "ReadReply", "Prepare", "Refused",   "Replicate", "Prepared", "Commit",
                                  "Abort",  "Apply",     "Drop",    "Resolved",  "Done",      "Forget",   "Sync",
                                  "Synced", "Status",    "Page",    "PageTaken", "Restored",  "Released"};

std::string describe(const Message& m) {
  return fmt::format("{} t={}.{} block={} detail={} epoch={}", kVerbs[static_cast<std::size_t>(m.verb)],
                     m.id.coordinator, m.id.sequence, m.block, m.detail, m.epoch);
}

constexpr BlockId kFirstBlock{1024};

JournalDiskOptions journal_options(const DurableClusterOptions& cluster) {
  Prng prng(mix(cluster.seed, 1));
  JournalDiskOptions options;
  options.store.mutant = cluster.store_mutant;
  options.store.segment_bytes = 200 + prng.below(4000);
  if (prng.one_in(2)) options.journal.piece_bytes = 50 + prng.below(5000);
  options.journal.least_bytes = 200 + prng.below(prng.one_in(2) ? 1000 : 10'000);
  options.journal.least_times = prng.below(2);
  return options;
}

}  // namespace

DurableCluster::DurableCluster(const DurableClusterOptions& options)
    : options_(options),
      spares_(options.spares),
      cores_(options.nodes + options.spares),
      network_(static_cast<std::uint16_t>(options.nodes + options.spares), options.seed) {
  Prng prng(options.seed);
  slow_news_ = prng.one_in(3) ? 20 + prng.below(100) : 1 + prng.below(10);
  std::vector<NodeId> founders;
  for (std::uint16_t n = 0; n < options.nodes; ++n) founders.push_back(NodeId{n});
  append(founders, kNoNode);
  slow_disk_ = prng.one_in(2) ? 20 + prng.below(200) : 1 + prng.below(10);
  lapsed_.resize(cores_.size()), unsettled_.resize(cores_.size());
  const JournalDiskOptions journals = journal_options(options);
  for (std::uint16_t n = 0; n < cores_.size(); ++n)
    disks_.push_back({.journal = {NodeId{n}, journals, mix(options.seed, 2 + n)}, .held = {}});
  for (std::uint16_t n = 0; n < options.nodes; ++n) {
    cores_[n] = std::make_unique<Core>(NodeId{n}, history(Epoch{1}), std::span<const durable::DurableRegion>(),
                                       core_options(NodeId{n}));
    begin_journal(NodeId{n});
    // No region is mapped before all founders have begun their journals.
    while (disks_[n].journal.is_busy()) disks_[n].held.written(disks_[n].journal.go_on());
    cores_[n]->map_region(kFirstBlock, options.blocks, options.backups);
  }
}

std::uint64_t DurableCluster::address(std::uint64_t block, std::uint32_t offset) const {
  return address_of(first_page(BlockId{kFirstBlock.value + block})) + offset;
}

unsigned DurableCluster::alive() const {
  unsigned count = 0;
  for (const auto& core : cores_) count += core != nullptr;
  return count;
}

bool DurableCluster::is_bystander(NodeId node) const { return std::ranges::binary_search(options_.bystanders, node); }

std::vector<NodeId> DurableCluster::keeping() const {
  std::vector<NodeId> nodes = members();
  std::erase_if(nodes, [this](NodeId node) { return is_bystander(node); });
  return nodes;
}

durable::Options DurableCluster::core_options(NodeId node) const {
  durable::Options options = options_.core;
  options.keep = has_disk(node);
  return options;
}

void DurableCluster::log(const std::string& line) const {
  if (options_.trace) std::fprintf(stderr, "%s\n", line.c_str());
}

bool DurableCluster::deliver(Prng& prng) {
  std::vector<NodeId> late;
  for (std::uint16_t n = 0; n < nodes(); ++n) {
    if (behind(NodeId{n})) late.push_back(NodeId{n});
  }
  if (!late.empty() && (network_.pending() == 0 || prng.one_in(slow_news_))) {
    hear(late[prng.below(late.size())]);
    return true;
  }
  if (options_.flush_every > 1 && prng.one_in(options_.flush_every)) {
    const NodeId node{static_cast<std::uint16_t>(prng.below(nodes()))};
    if (up(node)) step(node, [](Core& core) { core.flush(); });
  }
  if (options_.disks && (network_.pending() == 0 || prng.one_in(slow_disk_)) && write_some(prng)) return true;
  if (network_.pending() == 0) return flush_all();
  auto delivery = network_.deliver_random(prng);
  // Of deaths nodes hear from the log.
  if (!delivery.message || !up(delivery.to)) return true;
  log(fmt::format("{} -> {} {}", delivery.from, delivery.to, describe(*delivery.message)));
  step(delivery.to, [&](Core& core) {
    const auto decoded = durable::decode(type_of(*delivery.message), durable::encode(*delivery.message));
    CHECK(decoded.has_value(), describe(*delivery.message));
    CHECK(core.message(delivery.from, *decoded), delivery.from, delivery.to, describe(*delivery.message));
  });
  return true;
}

// False: nobody had put off anything.
bool DurableCluster::flush_all() {
  for (std::uint16_t n = 0; n < nodes(); ++n) {
    if (up(NodeId{n})) step(NodeId{n}, [](Core& core) { core.flush(); });
  }
  return network_.pending() != 0 || !writing().empty();
}

void DurableCluster::hear(NodeId node) {
  const Epoch epoch{core(node).epoch().value + 1};
  log(fmt::format("{} is in epoch {}", node, epoch));
  digest_ = mix(digest_, std::uint64_t{node.value} << 32 | epoch.value);
  step(node, [&](Core& core) { core.epoch(membership(epoch)); });
}

void DurableCluster::finish_step(NodeId node) {
  Core& core = *cores_[node.value];
  if (options_.flush_every == 1) core.flush();
  durable::Effects effects = core.take_effects();
  core.check_invariants();
  for (std::uint64_t b = 0; b < options_.blocks && is_bystander(node); ++b)
    CHECK(core.block(BlockId{kFirstBlock.value + b}) == nullptr, "a bystander keeps a block", node, b);
  if (!has_disk(node)) return carry_out(node, std::move(effects));
  Disk& disk = disks_[node.value];
  if (!effects.notes.empty()) {
    disk.last_write = disk.journal.write(effects.notes);
    if (disk.journal.has_grown()) disk.last_write = disk.journal.write_anew(core);
  }
  disk.held.add(options_.core.mutant == durable::Mutant::kTellUnwritten ? 0 : disk.last_write, std::move(effects));
  carry_out_written(node);
}

void DurableCluster::carry_out_written(NodeId node) {
  Disk& disk = disks_[node.value];
  while (disk.held.may_go() && !lapsed_[node.value]) carry_out(node, disk.held.take_first());
}

void DurableCluster::carry_out(NodeId node, durable::Effects effects) {
  for (auto& [to, message] : effects.messages) network_.send(node, to, std::move(message));
  for (const auto& done : effects.reads) {
    if (on_read) on_read(node, done);
  }
  for (const auto& done : effects.commits) {
    log(fmt::format("{} outcome {} of {}", node, static_cast<int>(done.outcome), done.ticket));
    if (on_commit) on_commit(node, done);
  }
}

void DurableCluster::crash(NodeId node, Prng& prng) {
  log(fmt::format("{} crashes", node));
  digest_ = mix(digest_, node.value);
  cores_[node.value].reset();
  network_.kill(node, prng);
}

void DurableCluster::set_lease(NodeId node, durable::Lease lease) {
  log(fmt::format("{} {}", node, lease == durable::Lease::kHeld ? "has a lease again" : "has no lease"));
  digest_ = mix(digest_, node.value);
  lapsed_[node.value] = lease == durable::Lease::kLapsed;
  step(node, [&](Core& core) { core.set_lease(lease); });
}

std::vector<NodeId> DurableCluster::members() const {
  std::vector<NodeId> members;
  for (std::uint16_t n = 0; n < nodes(); ++n) {
    if (up(NodeId{n})) members.push_back(NodeId{n});
  }
  return members;
}

void DurableCluster::begin_journal(NodeId node) {
  if (!has_disk(node)) return;
  Disk& disk = disks_[node.value];
  (void)disk.journal.start();
  disk.last_write = disk.journal.write_anew(core(node));
}

JournalDisk::Counters DurableCluster::disk_counters() const {
  JournalDisk::Counters sum;
  for (const Disk& disk : disks_) {
    sum.torn += disk.journal.counters().torn;
    sum.anew += disk.journal.counters().anew;
    sum.interrupted += disk.journal.counters().interrupted;
  }
  return sum;
}

std::vector<NodeId> DurableCluster::writing() const {
  std::vector<NodeId> nodes = members();
  std::erase_if(nodes, [this](NodeId node) { return !disks_[node.value].journal.is_busy(); });
  return nodes;
}

bool DurableCluster::is_writing(Writes writes) const {
  return std::ranges::any_of(
      writing(), [&](NodeId node) { return writes == Writes::kAny || disks_[node.value].journal.is_writing_anew(); });
}

// Some of what is under way at one node. False: there is nothing.
bool DurableCluster::write_some(Prng& prng) {
  const std::vector<NodeId> nodes = writing();
  if (nodes.empty()) return false;
  const NodeId node = nodes[prng.below(nodes.size())];
  Disk& disk = disks_[node.value];
  disk.held.written(disk.journal.go_on());
  carry_out_written(node);
  return true;
}

durable::History DurableCluster::history(Epoch until) const {
  durable::History history(membership(Epoch{1}));
  for (Epoch epoch{2}; epoch <= until; ++epoch.value) history.add(membership(epoch));
  return history;
}

void DurableCluster::restart(const std::vector<NodeId>& nodes, Prng& prng) {
  for (const NodeId node : nodes) crash(node, prng);
  for (const NodeId node : nodes) {
    if (!has_disk(node)) continue;
    Disk& disk = disks_[node.value];
    disk.journal.end();
    disk.held = {}, disk.last_write = 0;
  }
  for (const NodeId node : nodes) {
    const NodeId still_leaves = leaver() == node ? kNoNode : leaver();
    if (is_bystander(node)) {
      auto others = log_.back().nodes;
      std::erase(others, node);
      append(std::move(others), still_leaves);
      network_.revive(node);
      join(node);
      continue;
    }
    durable::Kept kept = disks_[node.value].journal.start();
    if (kept.epoch == Epoch{}) continue;  // it had just joined: it would have to join anew
    network_.revive(node);
    append(log_.back().nodes, still_leaves, node);
    log(fmt::format("{} starts again", node));
    recover(node, std::move(kept));
    finish_step(node);
  }
}

// It takes part from its restart on. What it says in the epochs before is of no interest to anybody.
void DurableCluster::recover(NodeId node, durable::Kept kept) {
  const durable::DurableRegion region{kFirstBlock, options_.blocks, options_.backups, Epoch{1}};
  auto& core = cores_[node.value];
  core = std::make_unique<Core>(node, history(kept.epoch), std::span(&region, 1), core_options(node), std::move(kept));
  while (behind(node)) core->epoch(membership(Epoch{core->epoch().value + 1}));
}

bool DurableCluster::published() const { return log_.back().nodes == members(); }

void DurableCluster::publish() {
  if (published()) return;
  append(members(), leaver() != kNoNode && up(leaver()) ? leaver() : kNoNode);
}

void DurableCluster::append(std::vector<NodeId> nodes, NodeId leaver, NodeId restarted, durable::SettleStep step,
                            NodeId settler) {
  using durable::SettleStep;
  if (step == SettleStep::kNone && !log_.empty()) {
    settler = log_.back().settler;
    if (settler == leaver || settler == restarted || !std::ranges::binary_search(nodes, settler)) settler = kNoNode;
  } else {
    last_step_ = step;
  }
  std::vector<NodeId> bystanders;
  if (options_.core.mutant != durable::Mutant::kBystanderKeeps)
    std::ranges::set_intersection(nodes, options_.bystanders, std::back_inserter(bystanders));
  log_.push_back(
      {Epoch{latest().value + 1}, std::move(nodes), leaver, restarted, std::move(bystanders), settler, step});
  log(fmt::format("epoch {} has {} members; {} is about to leave; {} settles, step {}", log_.size(),
                  log_.back().nodes.size(), leaver, settler, static_cast<int>(step)));
}

// In their order.
NodeId DurableCluster::waiting_to_settle() const {
  for (const NodeId node : members()) {
    if (unsettled_[node.value] && std::ranges::binary_search(log_.back().nodes, node)) return node;
  }
  return kNoNode;
}

bool DurableCluster::can_begin_settling() const {
  return leaver() == kNoNode && log_.back().settler == kNoNode && waiting_to_settle() != kNoNode;
}

void DurableCluster::begin_settling() {
  append(log_.back().nodes, kNoNode, kNoNode, durable::SettleStep::kTakenIn, waiting_to_settle());
}

// The log takes a step in the epoch only in which the settler found that it may be taken.
bool DurableCluster::may_go_on_settling() const {
  const NodeId settler = log_.back().settler;
  return settler != kNoNode && up(settler) && !behind(settler) && core(settler).may_go_on_settling();
}

void DurableCluster::go_on_settling() {
  using durable::SettleStep;
  const NodeId settler = log_.back().settler;
  if (last_step_ == SettleStep::kTakenIn) {
    append(log_.back().nodes, leaver(), kNoNode, SettleStep::kTakesOver, settler);
  } else {
    append(log_.back().nodes, leaver(), kNoNode, SettleStep::kSettled);
    unsettled_[settler.value] = false;
  }
}

void DurableCluster::join() { join(NodeId{static_cast<std::uint16_t>(options_.nodes + joined_++)}); }

void DurableCluster::join(NodeId node) {
  auto members = log_.back().nodes;
  members.insert(std::ranges::lower_bound(members, node), node);
  append(std::move(members), leaver());
  unsettled_[node.value] = !is_bystander(node);
  const durable::DurableRegion region{kFirstBlock, options_.blocks, options_.backups, Epoch{1}};
  cores_[node.value] = std::make_unique<Core>(node, history(latest()), std::span(&region, 1), core_options(node));
  begin_journal(node);
}

bool DurableCluster::restored() const {
  for (std::uint16_t n = 0; n < nodes(); ++n) {
    if (up(NodeId{n}) && (behind(NodeId{n}) || core(NodeId{n}).unrestored() > 0)) return false;
  }
  return published();
}

Core& DurableCluster::primary(std::uint64_t block) {
  const BlockId id{kFirstBlock.value + block};
  for (std::uint16_t n = 0; n < nodes(); ++n) {
    if (up(NodeId{n}) && core(NodeId{n}).company(id).primary() == NodeId{n}) return core(NodeId{n});
  }
  CHECK(false, "no primary", block);
  std::abort();
}

void DurableCluster::check_rest() const {
  CHECK(restored(), "redundancy is not back");
  for (const NodeId node : members()) {
    CHECK(core(node).open() == 0, "hangs", node, core(node).open());
    for (std::uint64_t b = 0; b < options_.blocks; ++b) {
      const durable::Block* block = core(node).block(BlockId{kFirstBlock.value + b});
      if (block == nullptr || block->records.empty()) continue;
      const durable::TransactionId& id = block->records.front().id;
      CHECK(false, "a record is kept", node, b, id.coordinator, id.sequence, block->records.front().committed);
    }
  }
  for (std::uint64_t b = 0; b < options_.blocks; ++b) {
    check_copies(BlockId{kFirstBlock.value + b}, options_.backups, keeping(),
                 [this](NodeId node) -> const Core& { return core(node); });
  }
}

void DurableCluster::check_shares() const {
  durable::Membership all{.epoch = Epoch{1}, .nodes = members()};
  std::ranges::set_intersection(all.nodes, options_.bystanders, std::back_inserter(all.bystanders));
  for (std::uint64_t b = 0; b < options_.blocks; ++b) {
    const BlockId block{kFirstBlock.value + b};
    check_share(block, options_.backups, all, core(members().front()).company(block));
  }
}

void check_share(BlockId block, unsigned backups, const durable::Membership& members, const Company& is) {
  const Company should = durable::History(members).company(block, backups, members.epoch);
  CHECK(is.size() == should.size(), block, is.size(), should.size());
  for (unsigned i = 0; i < is.size(); ++i) CHECK(should.has(is[i]), block, is[i]);
}

void check_copies(BlockId block, unsigned backups, std::span<const NodeId> keeping,
                  const std::function<const Core&(NodeId)>& core) {
  const Company company = core(keeping.front()).company(block);
  // A member that was about to leave, and then stayed, may be one too many.
  const std::size_t least = std::min<std::size_t>(backups + 1, keeping.size());
  CHECK(company.size() >= least && company.size() <= least + 1, block, company.size());
  for (const NodeId node : keeping) CHECK(company.has(node) || core(node).block(block) == nullptr, block, node);
  const durable::Block* first = core(company.primary()).block(block);
  for (unsigned i = 0; i < company.size(); ++i) {
    CHECK(std::ranges::find(keeping, company[i]) != keeping.end(), block, company[i]);
    CHECK(core(company[i]).company(block) == company, block, company[i]);
    const durable::Block* copy = core(company[i]).block(block);
    CHECK(copy == nullptr || copy->complete, "not restored", block, company[i]);
    for (std::uint32_t page = 0; page < kBlockPages; ++page) {
      const bool here = copy != nullptr && copy->image.has(page), there = first != nullptr && first->image.has(page);
      CHECK(here == there, "pages differ", block, company[i], page);
      CHECK(!here || copy->image.page(page) == first->image.page(page), "images differ", block, company[i], page);
    }
  }
}

}  // namespace gallocy::sim
