// DurableScript: a few nodes with durable memory whose messages are delivered one by one, as a test says.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "base/check.h"
#include "durable/core.h"
#include "durable_cluster.h"

namespace gallocy::sim {

class DurableScript {
 public:
  static constexpr BlockId kFirst{4096};
  static constexpr std::uint64_t kBlocks = 1024;  // among which there is each company that a test asks for

  DurableScript(std::uint16_t nodes, unsigned backups, durable::Mutant mutant = durable::Mutant::kNone,
                std::vector<NodeId> bystanders = {})
      : options_{.most_put_off = 1, .mutant = mutant}, region_{kFirst, kBlocks, backups, Epoch{1}}, network_(kMost, 1) {
    next_.bystanders = std::move(bystanders);
    for (std::uint16_t n = 0; n < nodes; ++n) next_.nodes.push_back(NodeId{n});
    log_.push_back(next_);
    for (std::uint16_t n = 0; n < nodes; ++n) add_core();
  }

  durable::Core& operator[](unsigned node) { return *cores_[node]; }

  // A block whose company is this.
  BlockId block_of(std::initializer_list<unsigned> company) const {
    for (BlockId block = kFirst;; ++block.value) {
      const durable::Company is = some().company(block);
      CHECK(block.value < kFirst.value + kBlocks, "no such block");
      unsigned i = 0;
      bool same = is.size() == company.size();
      for (const unsigned node : company) same = same && is[i++] == NodeId(static_cast<std::uint16_t>(node));
      if (same) return block;
    }
  }

  // Commits: writes `value` to the first bytes of these blocks, if they have `expected`.
  void commit(unsigned node, std::uint64_t ticket, std::initializer_list<BlockId> blocks, std::uint64_t value,
              std::optional<std::uint64_t> expected = std::nullopt) {
    std::vector<durable::Item> items;
    for (const BlockId block : blocks) {
      const std::uint64_t address = address_of(first_page(block));
      if (expected) items.push_back({durable::ItemKind::kCompare, address, std::as_bytes(std::span(&*expected, 1))});
      items.push_back({durable::ItemKind::kWrite, address, std::as_bytes(std::span(&value, 1))});
    }
    cores_[node]->commit(durable::Ticket{ticket}, items);
    carry_out(node);
  }
  void read(unsigned node, std::uint64_t ticket, BlockId block, durable::Await await = durable::Await::kWrites) {
    cores_[node]->read(durable::Ticket{ticket}, address_of(first_page(block)), 8, await);
    carry_out(node);
  }

  // Delivers what is under way from one node to another, or the first so many messages.
  void deliver(unsigned from, unsigned to, std::size_t most = ~std::size_t{0}) {
    const NodeId a(static_cast<std::uint16_t>(from)), b(static_cast<std::uint16_t>(to));
    for (; most > 0 && network_.pending(a, b) > 0; --most) {
      const auto delivery = network_.deliver(a, b);
      if (!delivery.message) continue;
      const auto decoded = durable::decode(type_of(*delivery.message), durable::encode(*delivery.message));
      EXPECT_TRUE(cores_[to]->message(a, *decoded)) << from << " -> " << to;
      carry_out(to);
    }
  }
  // And what follows, until nothing is under way; `without`: but for what goes to this node.
  void deliver_all(std::optional<unsigned> without = std::nullopt) {
    for (bool any = true; any;) {
      any = false;
      for (unsigned from = 0; from < cores_.size(); ++from) {
        for (unsigned to = 0; to < cores_.size(); ++to) {
          const NodeId a(static_cast<std::uint16_t>(from)), b(static_cast<std::uint16_t>(to));
          if (cores_[to] == nullptr || to == without || network_.pending(a, b) == 0) continue;
          any = true;
          deliver(from, to);
        }
      }
    }
  }

  // It stops, and what it had sent does not arrive.
  void crash(unsigned node) {
    cores_[node].reset();
    network_.kill(NodeId(static_cast<std::uint16_t>(node)), [](NodeId, std::size_t) { return std::size_t{0}; });
    std::erase(next_.nodes, NodeId(static_cast<std::uint16_t>(node)));
    std::erase(next_.bystanders, NodeId(static_cast<std::uint16_t>(node)));
    if (next_.settler.value == node) next_.settler = kNoNode;
  }
  // All hear that it is about to leave, and of the deaths so far.
  void leaves(unsigned node) {
    next_.leaver = NodeId(static_cast<std::uint16_t>(node));
    epoch();
  }
  // One more node, the next; all hear of it.
  void joins() {
    next_.nodes.push_back(NodeId(static_cast<std::uint16_t>(cores_.size())));
    epoch();
    add_core();
  }
  // A step of this node opens the next epoch.
  void settles(unsigned node, durable::SettleStep step) {
    next_.step = step;
    next_.settler = step == durable::SettleStep::kSettled ? kNoNode : NodeId(static_cast<std::uint16_t>(node));
  }
  // All hear of the deaths so far.
  void epoch() {
    const Epoch next{heard_by_all_.value + 1};
    append_until(next);
    for (unsigned node = 0; node < cores_.size(); ++node) hear(node, next);
    heard_by_all_ = next;
  }
  void hear(unsigned node, Epoch epoch) {
    append_until(epoch);
    while (cores_[node] != nullptr && cores_[node]->epoch() < epoch) {
      cores_[node]->epoch(log_[cores_[node]->epoch().value]);
      carry_out(node);
    }
  }
  void carry_out(unsigned node) {
    cores_[node]->flush();
    cores_[node]->check_invariants();
    durable::Effects effects = cores_[node]->take_effects();
    for (auto& [to, message] : effects.messages)
      network_.send(NodeId(static_cast<std::uint16_t>(node)), to, std::move(message));
    for (const auto& done : effects.commits) commits[done.ticket.value] = done;
    for (const auto& done : effects.reads) reads[done.ticket.value] = done;
  }

  // What a member has in the first bytes of a block.
  std::uint64_t value(unsigned node, BlockId block) const {
    std::uint64_t value = 0;
    if (const durable::Block* kept = cores_[node]->block(block))
      kept->image.read(0, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  std::optional<durable::Outcome> outcome(std::uint64_t ticket) const {
    const auto done = commits.find(ticket);
    return done == commits.end() ? std::nullopt : std::optional(done->second.outcome);
  }
  std::optional<std::uint64_t> read_value(std::uint64_t ticket) const {
    const auto done = reads.find(ticket);
    if (done == reads.end() || done->second.outcome != durable::Outcome::kDone) return std::nullopt;
    std::uint64_t value = 0;
    std::memcpy(&value, done->second.bytes.data(), sizeof value);
    return value;
  }

  std::map<std::uint64_t, durable::CommitDone> commits;
  std::map<std::uint64_t, durable::ReadDone> reads;

 private:
  const durable::Core& some() const {
    for (const auto& core : cores_) {
      if (core != nullptr) return *core;
    }
    std::abort();
  }

  void append_until(Epoch epoch) {
    while (log_.size() < epoch.value) {
      next_.epoch = Epoch{next_.epoch.value + 1};
      log_.push_back(next_);
      next_.step = durable::SettleStep::kNone;
    }
  }
  void add_core() {
    durable::History history(log_.front());
    for (const durable::Membership& membership : std::span(log_).subspan(1)) history.add(membership);
    cores_.push_back(std::make_unique<durable::Core>(NodeId(static_cast<std::uint16_t>(cores_.size())), history,
                                                     std::span(&region_, 1), options_));
  }

  static constexpr std::uint16_t kMost = 16;  // nodes

  durable::Options options_;
  durable::DurableRegion region_;
  durable::Membership next_{.epoch = Epoch{1}};  // the next epoch's, so far
  std::vector<durable::Membership> log_;         // of epochs 1 …
  Epoch heard_by_all_{1};
  Network<durable::Message> network_;
  std::vector<std::unique_ptr<durable::Core>> cores_;
};

}  // namespace gallocy::sim
