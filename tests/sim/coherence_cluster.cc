#include "coherence_cluster.h"

#include <algorithm>

#include "base/check.h"
#include "coherence_inspector.h"

namespace gallocy::sim {

using coherence::CoreInspector;
using coherence::Effect;
using coherence::Effects;
using coherence::PageSet;
using coherence::PageState;
using wire::MessageType;

namespace {

PageId page_at(BlockId block, unsigned index) { return PageId{first_page(block).value + index}; }

template <typename F>
void for_each_page(BlockId block, PageSet pages, F&& f) {
  coherence::for_each(pages, [&](unsigned index) { f(page_at(block, index)); });
}

}  // namespace

std::uint64_t CoherenceCluster::Memory::checksum(PageId page) {
  std::uint64_t sum = 0;
  for (const std::uint64_t word : frames[page.value]) sum = mix(sum, word);
  return sum;
}

bool CoherenceCluster::Memory::locked(PageId page) {
  return locks.contains(page) || (random_locks && random_locks->one_in(3));
}

CoherenceCluster::CoherenceCluster(const Options& options, CoherenceObserver& observer)
    : options_(options),
      observer_(observer),
      prng_(options.seed),
      network_(std::max(options.most_nodes, static_cast<std::uint16_t>(options.nodes.size())), options.seed),
      nodes_(network_.nodes()) {
  std::uint64_t pages = options.most_pages;
  for (const auto& region : options.regions) pages = std::max(pages, region.first_page.value + region.pages);
  latest_.resize(pages);
  may_be_lost_.resize(pages);
  receiving_.resize(nodes_.size() * nodes_.size());
  superseded_.resize(nodes_.size());
  in_region_.resize(pages / kBlockPages);
  ever_home_.resize(in_region_.size());
  for (const coherence::Options& of_node : options.nodes) {
    start(of_node.self, of_node);
    for (const auto& region : options.regions) add_region(of_node.self, region);
  }
}

void CoherenceCluster::start(NodeId node, const coherence::Options& options) {
  auto& n = nodes_[node.value] = std::make_unique<Node>(latest_.size());
  if (options_.locks) n->memory.random_locks.emplace(options_.seed + node.value);
  n->core = std::make_unique<coherence::Core>(options, n->memory);
}

void CoherenceCluster::add_region(NodeId node, const coherence::RegionSpec& region) {
  coherence::Core& core = *nodes_[node.value]->core;
  core.add_region(region);
  for (std::uint64_t p = 0; p < region.pages; p += kBlockPages) {
    const BlockId block = block_of(PageId{region.first_page.value + p});
    CHECK(block.value < in_region_.size(), block);
    in_region_[block.value] = true;
    ever_home_[block.value].insert(core.home_of(block));
  }
  for (auto& [from, message] : std::exchange(nodes_[node.value]->parked, {})) receive(from, node, std::move(message));
}

void CoherenceCluster::copy_from(const CoherenceCluster& other) {
  prng_ = other.prng_;
  now_ = other.now_;
  network_ = other.network_;
  latest_ = other.latest_;
  may_be_lost_ = other.may_be_lost_;
  superseded_ = other.superseded_;
  receiving_ = other.receiving_;
  ever_home_ = other.ever_home_;
  steps_ = other.steps_;
  for (std::size_t n = 0; n < nodes_.size(); ++n) {
    const Node& source = *other.nodes_[n];
    Node& target = *nodes_[n];
    target.memory.frames = source.memory.frames;
    target.memory.view = source.memory.view;
    target.pinned = source.pinned;
    target.frozen = source.frozen;
    CoreInspector::copy(*source.core, *target.core);
  }
}

std::uint64_t CoherenceCluster::digest() const {
  std::uint64_t sum = 0;
  for (std::uint16_t n = 0; n < count(); ++n) {
    if (nodes_[n] == nullptr) continue;
    const Node& node = *nodes_[n];
    sum = mix(sum, CoreInspector::whole_digest(*node.core, now_));
    for (std::size_t page = 0; page < latest_.size(); ++page) {
      sum = sum * 31 + static_cast<std::uint64_t>(node.memory.view[page]);
      for (const std::uint64_t word : node.memory.frames[page]) {
        if (word != 0) sum = mix(sum, word + page);
      }
    }
    for (std::uint16_t to = 0; to < count(); ++to) {
      for (const auto& message : network_.in_flight(NodeId{n}, NodeId{to})) {
        sum = mix(sum, message ? sim::digest(*message) : 1);
      }
      sum = mix(sum, to | receiving_[std::size_t{n} * count() + to] << 16);
    }
    sum = mix(sum, network_.alive(NodeId{n}));
  }
  for (const PageWords& words : latest_) {
    for (const std::uint64_t word : words) sum = sum * 31 + word;
  }
  return sum;
}

template <typename Event>
void CoherenceCluster::step(NodeId node, Event event) {
  Node& n = *nodes_[node.value];
  for (const Effect& effect : std::exchange(n.late, {})) protect(node, effect);
  Effects effects;
  event(*n.core, effects);
  carry_out(node, effects);
  n.core->check_invariants();
  CHECK(n.core->counters().refused == 0, "refused a message", node);
  if (++steps_ % 16 == 0) CoreInspector::check_bounds(*n.core);
}

// ---------------------------------------------------------------------------------------------- accesses

std::uint64_t CoherenceCluster::read(NodeId node, PageId page, unsigned word) {
  CHECK(view(node, page) >= Access::kRead, node, page);
  const std::uint64_t value = frame(node, page)[word];
  trace([&] { return fmt::format("node {} reads {}:{} = {}", node, page, word, value); });
  CHECK(value == latest_[page.value][word] || superseded(node), "stale read", node, page, word, value,
        latest_[page.value][word]);
  return value;
}

void CoherenceCluster::write(NodeId node, PageId page, unsigned word, std::uint64_t value) {
  CHECK(view(node, page) == Access::kWrite, node, page);
  CHECK(frame(node, page) == latest_[page.value], "write into a stale page", node, page);
  trace([&] { return fmt::format("node {} writes {}:{} = {}", node, page, word, value); });
  frame(node, page)[word] = value;
  latest_[page.value][word] = value;
}

coherence::FaultOutcome CoherenceCluster::fault(NodeId node, PageId page, Access want, std::uint64_t hold_us) {
  trace(
      [&] { return fmt::format("node {} faults on {} to {}", node, page, want == Access::kWrite ? "write" : "read"); });
  auto outcome = coherence::FaultOutcome::kPending;
  step(node,
       [&](coherence::Core& core, Effects& effects) { outcome = core.fault(page, want, now_, effects, hold_us); });
  if (outcome == coherence::FaultOutcome::kResolved && options_.mutant == Mutant::kNone)
    CHECK(may(node, page, want), "resolved but not accessible", node, page);
  if (outcome == coherence::FaultOutcome::kLost) check_lost(node, block_of(page), coherence::set_of(page));
  check_block(block_of(page));
  return outcome;
}

void CoherenceCluster::about_to_access(NodeId node, PageId page, std::uint64_t hold_us) {
  (void)nodes_[node.value]->core->about_to_access(page, now_, hold_us);
}

void CoherenceCluster::pin(NodeId node, PageId page, Access access) {
  CHECK(may(node, page, access), node, page);
  trace([&] { return fmt::format("node {} pins {}", node, page); });
  nodes_[node.value]->core->pin(page);
  Pinned& pinned = nodes_[node.value]->pinned[page];
  ++pinned.count;
  pinned.access = std::max(pinned.access, access);
}

void CoherenceCluster::unlock(NodeId node, PageId page) {
  trace([&] { return fmt::format("node {} releases the lock in {}", node, page); });
  nodes_[node.value]->memory.locks.erase(page);
  step(node, [&](coherence::Core& core, Effects& effects) { core.unlocked(page, now_, effects); });
}

void CoherenceCluster::freeze(NodeId node, PageId page) {
  trace([&] { return fmt::format("node {} freezes {}", node, page); });
  nodes_[node.value]->frozen.insert(page);
  nodes_[node.value]->core->freeze(page, 1);
}

void CoherenceCluster::thaw(NodeId node, PageId page) {
  trace([&] { return fmt::format("node {} thaws {}", node, page); });
  auto& frozen = nodes_[node.value]->frozen;
  frozen.erase(frozen.find(page));
  step(node, [&](coherence::Core& core, Effects& effects) { core.thaw(page, 1, now_, effects); });
}

void CoherenceCluster::give_home(NodeId node, BlockId block, NodeId to) {
  trace([&] { return fmt::format("node {} shall give {} to {}", node, block, to); });
  step(node, [&](coherence::Core& core, Effects& effects) { (void)core.give_home(block, to, now_, effects); });
}

void CoherenceCluster::give_up(NodeId node, BlockId block, NodeId heir) {
  trace([&] { return fmt::format("node {} gives {} up, to {}", node, block, heir); });
  step(node, [&](coherence::Core& core, Effects& effects) { (void)core.give_up(block, heir, now_, effects); });
}

void CoherenceCluster::home_given(NodeId node, BlockId block, NodeId from, NodeId to) {
  nodes_[node.value]->core->home_given(block, from, to);
}

void CoherenceCluster::anchors_are(NodeId node, PageId first_page, const std::vector<NodeId>& anchors) {
  trace([&] { return fmt::format("node {} learns the anchors from page {} on", node, first_page); });
  step(node, [&](coherence::Core& core, Effects& effects) { core.anchors_are(first_page, anchors, now_, effects); });
}

void CoherenceCluster::leave(NodeId node) {
  trace([&] { return fmt::format("node {} has left", node); });
  CHECK(blocks_kept(node).empty(), "it leaves with something", node);
  network_.kill(node, [](NodeId, std::size_t in_flight) { return in_flight; });
}

void CoherenceCluster::retire(NodeId node) {
  trace([&] { return fmt::format("node {} has left", node); });
  CHECK(blocks_kept(node).empty(), "it leaves with something", node);
  std::ranges::fill(nodes_[node.value]->memory.view, Access::kNone);
  network_.silence(node, [](NodeId, std::size_t in_flight) { return in_flight; });
}

void CoherenceCluster::give_untouched(NodeId node) {
  step(node, [&](coherence::Core& core, Effects& effects) { core.give_untouched(now_, effects); });
}

void CoherenceCluster::unpin(NodeId node, PageId page) {
  trace([&] { return fmt::format("node {} unpins {}", node, page); });
  auto& pinned = nodes_[node.value]->pinned;
  if (--pinned.at(page).count == 0) pinned.erase(page);
  step(node, [&](coherence::Core& core, Effects& effects) { core.unpin(page, now_, effects); });
}

// ---------------------------------------------------------------------------------------------- events

bool CoherenceCluster::begin_receiving(NodeId from, NodeId to) {
  const auto& oldest = network_.in_flight(from, to).front();
  const std::size_t pair = std::size_t{from.value} * count() + to.value;
  if (!oldest || oldest->payload.empty() || receiving_[pair]) return false;
  trace([&] { return fmt::format("{} -> {} receiving the bytes of {}", from, to, describe(*oldest)); });
  receiving_[pair] = true;
  place(to, *oldest, wanted_of(from, to, *oldest));
  return true;
}

PageSet CoherenceCluster::wanted_of(NodeId from, NodeId to, const CoherenceMessage& message) {
  const PageSet wanted = nodes_[to.value]->core->payload_wanted(from, message.type, message.body);
  CHECK((wanted & ~message.body.carried) == 0, "wants bytes that were not sent", to, wanted, message.body.carried);
  if (options_.mutant == Mutant::kPlaceEverything) return message.body.carried;
  if (options_.mutant == Mutant::kDropPayload && chance(4)) return 0;
  return wanted;
}

void CoherenceCluster::deliver(NodeId from, NodeId to) {
  auto delivery = network_.deliver(from, to);
  if (!delivery.message) {
    return node_died(to, from);
  }
  trace([&] { return fmt::format("{} -> {} {}", from, to, describe(*delivery.message)); });
  if (options_.mutant == Mutant::kReorder && network_.pending(from, to) != 0 && chance(4)) {
    auto overtaking = network_.deliver(from, to);
    if (overtaking.message) receive(from, to, std::move(*overtaking.message));
  }
  if (options_.mutant == Mutant::kRepeat && chance(8)) receive(from, to, *delivery.message);
  receive(from, to, std::move(*delivery.message));
}

void CoherenceCluster::node_died(NodeId node, NodeId dead) {
  trace([&] { return fmt::format("node {} learns that {} died", node, dead); });
  step(node, [&](coherence::Core& core, Effects& effects) { core.node_died(dead, now_, effects); });
}

void CoherenceCluster::drop(NodeId from, NodeId to) {
  const auto delivery = network_.deliver(from, to);
  receiving_[std::size_t{from.value} * count() + to.value] = false;
  if (!delivery.message) return;
  trace([&] { return fmt::format("{} -> {} lost: {}", from, to, describe(*delivery.message)); });
  note_sent_to_the_dead(delivery.message->type, delivery.message->body);
}

void CoherenceCluster::receive(NodeId from, NodeId to, CoherenceMessage message) {
  const std::size_t pair = std::size_t{from.value} * count() + to.value;
  const bool placed = receiving_[pair];
  receiving_[pair] = false;
  if (!core(to).knows(BlockId{message.body.block}) && coherence::Core::may_be_early(message.type, message.body))
    return nodes_[to.value]->parked.emplace_back(from, std::move(message)), void();
  if (options_.mutant == Mutant::kLatePayload) {
    message.payload.clear();
    for_each_page(BlockId{message.body.block}, message.body.carried,
                  [&](PageId page) { message.payload.push_back(frame(from, page)); });
  }
  const PageSet wanted = placed || message.payload.empty() ? 0 : wanted_of(from, to, message);
  const bool late = options_.mutant == Mutant::kMapBeforeBytes;
  if (!late) place(to, message, wanted);
  bool accepted = false;
  CHECK(core(to).knows(BlockId{message.body.block}), "unknown region", from, to, describe(message));
  step(to, [&](coherence::Core& c, Effects& effects) {
    accepted = c.message(from, message.type, message.body, message.tail, now_, effects);
  });
  CHECK(accepted, "refused", from, to, describe(message));
  if (late) place(to, message, wanted);
  check_block(BlockId{message.body.block});
}

void CoherenceCluster::place(NodeId to, const CoherenceMessage& message, PageSet wanted) {
  std::size_t next = 0;
  for_each_page(BlockId{message.body.block}, message.body.carried, [&](PageId page) {
    const PageWords& words = message.payload[next++];
    if (!coherence::contains(wanted, index_in_block(page))) return;
    if (options_.mutant == Mutant::kNone)
      CHECK(view(to, page) == Access::kNone || frame(to, page) == words, "bytes change under a mapped page", to, page);
    frame(to, page) = words;
  });
}

void CoherenceCluster::tick(NodeId node) {
  if (options_.mutant == Mutant::kForgetTick) return;
  trace([&] { return fmt::format("node {} ticks", node); });
  step(node, [&](coherence::Core& core, Effects& effects) { core.tick(now_, effects); });
}

void CoherenceCluster::home_hint(NodeId node, BlockId block, NodeId home) {
  nodes_[node.value]->core->home_hint(block, home);
}

void CoherenceCluster::announce_room(NodeId node, bool has_any) {
  const coherence::Core& core = *nodes_[node.value]->core;
  const std::uint64_t budget = core.budget(), used = core.frames_in_use();
  for (std::uint16_t n = 0; n < count(); ++n) {
    if (NodeId{n} != node && alive(NodeId{n}) && alive(node) && observer_.linked(node, NodeId{n}))
      nodes_[n]->core->set_room(node, has_any && budget > used ? std::min<std::uint64_t>(budget - used, 1 << 20) : 0);
  }
}

// ---------------------------------------------------------------------------------------------- effects

void CoherenceCluster::carry_out(NodeId node, Effects& effects) {
  for (const Effect& effect : effects.list) {
    switch (effect.kind) {
      case Effect::Kind::kProtect:
        if (options_.mutant == Mutant::kSendBeforeProtect && effect.to < effect.from && chance(4)) {
          nodes_[node.value]->late.push_back(effect);
        } else {
          protect(node, effect);
        }
        break;
      case Effect::Kind::kSend:
        send(node, effect, effects);
        break;
      case Effect::Kind::kWake:
        if (options_.mutant != Mutant::kDropWake || !chance(8)) observer_.woken(node, effect.block, effect.pages);
        break;
      case Effect::Kind::kDiscard:
        discard(node, effect);
        break;
      case Effect::Kind::kHomeMoved:
        trace([&] { return fmt::format("  node {} is home of block {}", effect.node, effect.block); });
        ever_home_[effect.block.value].insert(node);
        if (superseded(node)) note_end(node);
        observer_.home_moved(effect.node, effect.block);
        break;
      case Effect::Kind::kLost:
        trace([&] { return fmt::format("  node {} lost {} of block {}", node, describe(effect.pages), effect.block); });
        check_lost(node, effect.block, effect.pages);
        observer_.lost(node, effect.block, effect.pages);
        break;
    }
  }
}

void CoherenceCluster::protect(NodeId node, const Effect& effect) {
  static constexpr std::string_view kNames[] = {"none", "read", "write"};
  trace([&] {
    return fmt::format("  node {} protect {} of block {}: {} -> {}", node, describe(effect.pages), effect.block,
                       kNames[static_cast<int>(effect.from)], kNames[static_cast<int>(effect.to)]);
  });
  CHECK(effect.pages != 0, node);
  if (options_.mutant == Mutant::kNeverProtect && effect.to < effect.from) return;
  const auto& pinned = nodes_[node.value]->pinned;
  for_each_page(effect.block, effect.pages, [&](PageId page) {
    Access& access = nodes_[node.value]->memory.view[page.value];
    if (options_.mutant == Mutant::kNone) CHECK(access == effect.from, "protects from what is not", node, page);
    access = effect.to;
    if (const auto pin = pinned.find(page); pin != pinned.end())
      CHECK(effect.to >= pin->second.access, "takes away a pinned page", node, page);
    if (effect.to == Access::kNone) return;
    for (std::uint16_t n = 0; n < count(); ++n) {
      if (NodeId{n} == node || !alive(NodeId{n})) continue;
      const Access other = view(NodeId{n}, page);
      if (other == Access::kNone) continue;
      if (may_be_old(NodeId{n}, other) || may_be_old(node, effect.to)) continue;
      CHECK(effect.to == Access::kRead && other == Access::kRead, "two writers, or a writer and a reader", node, n,
            page);
    }
    if (options_.mutant == Mutant::kNone)
      CHECK(frame(node, page) == latest_[page.value] || may_be_old(node, effect.to), "accessible with stale bytes",
            node, page);
  });
}

void CoherenceCluster::send(NodeId node, const Effect& effect, const Effects& effects) {
  CoherenceMessage message;
  message.type = effect.type;
  message.body = effect.message;
  CHECK(effect.node != node && effect.node.value < count(), node, effect.node);
  const bool has_tail = effect.type == MessageType::kPageHandOver && (effect.message.flags & wire::kPageConsumed) == 0;
  if (has_tail) {
    CHECK(effect.tail + kBlockPages <= effects.tails.size(), node);
    message.tail.assign(effects.tails.begin() + effect.tail, effects.tails.begin() + effect.tail + kBlockPages);
  }
  for_each_page(BlockId{message.body.block}, message.body.carried, [&](PageId page) {
    CHECK(!nodes_[node.value]->frozen.contains(page), "sends a frozen page", node, page);
    message.payload.push_back(frame(node, page));
  });
  if (!counts(effect.node) || !counts(node)) note_sent_to_the_dead(message.type, message.body);
  if (!alive(effect.node)) return;
  if (!observer_.linked(node, effect.node)) return note_sent_to_the_dead(message.type, message.body);
  if (options_.mutant == Mutant::kGrantMore && message.type == MessageType::kPageData && chance(4))
    message.body.access = 2;
  if (options_.mutant == Mutant::kDropMessage && chance(64)) return;
  if (options_.mutant == Mutant::kDropAck) {
    if (message.type == MessageType::kPageInvalidateAck) return;
    if (message.type == MessageType::kPageInvalidate) {
      CoherenceMessage forged = message;
      forged.type = MessageType::kPageInvalidateAck;
      forged.body.origin = effect.node.value;
      network_.send(effect.node, node, forged);
      observer_.sent(effect.node, node);
    }
  }
  trace([&] { return fmt::format("  node {} sends {} {}", node, effect.node, describe(message)); });
  network_.send(node, effect.node, std::move(message));
  observer_.sent(node, effect.node);
}

void CoherenceCluster::discard(NodeId node, const Effect& effect) {
  PageSet pages = effect.pages;
  if (options_.mutant == Mutant::kDiscardMore) pages |= pages << 1;
  trace([&] { return fmt::format("  node {} discards {} of block {}", node, describe(pages), effect.block); });
  for_each_page(effect.block, pages, [&](PageId page) {
    if (options_.mutant == Mutant::kNone)
      CHECK(view(node, page) == Access::kNone, "discards a mapped frame", node, page);
    frame(node, page) = {};
  });
}

// ---------------------------------------------------------------------------------------------- deaths

void CoherenceCluster::supersede(NodeId node) {
  if (superseded(node)) return;
  trace([&] { return fmt::format("the log has node {} dead", node); });
  superseded_[node.value] = true;
  note_end(node);
  for (std::uint16_t n = 0; n < count(); ++n) note_cut(NodeId{n}, node, 0), note_cut(node, NodeId{n}, 0);
  note_what_is_gone(node);
}

// The chain of forwards that finds a block leads through all its homes.
void CoherenceCluster::note_end(NodeId node) {
  for (std::uint64_t b = 0; b < in_region_.size(); ++b) {
    if (!in_region_[b] || !ever_home_[b].contains(node)) continue;
    for (unsigned i = 0; i < kBlockPages; ++i) may_be_lost_[b * kBlockPages + i] = true;
  }
}

void CoherenceCluster::note_crash(NodeId node) {
  trace([&] { return fmt::format("node {} dies", node); });
  note_end(node);
  std::ranges::fill(nodes_[node.value]->memory.view, Access::kNone);
  for (std::uint16_t to = 0; to < count(); ++to) receiving_[std::size_t{node.value} * count() + to] = false;
}

// A page that its owner has sent home is with neither while the acknowledgement is under way.
bool CoherenceCluster::holds(const coherence::Core& core, PageId page) {
  const coherence::LocalPage& p = CoreInspector::local(core, page);
  return p.right() != Access::kNone && p.evicting == 0;
}

// What was on its way to the dead node, and what it had sent that does not arrive, may have been the only copy.
void CoherenceCluster::note_cut(NodeId from, NodeId to, std::size_t kept) {
  const auto& in_flight = network_.in_flight(from, to);
  for (std::size_t i = kept; i < in_flight.size(); ++i) {
    if (in_flight[i]) note_sent_to_the_dead(in_flight[i]->type, in_flight[i]->body);
  }
}

void CoherenceCluster::note_sent_to_the_dead(const MessageType type, const wire::PageMessage& m) {
  // Without its write-back the home knows only the dead owner, though the reader of a three-hop transfer has a copy.
  const bool gives_away = type == MessageType::kPageHandOver || type == MessageType::kPageLend ||
                          type == MessageType::kPageWriteBack ||
                          (type == MessageType::kPageData && m.access == static_cast<std::uint8_t>(Access::kWrite));
  if (!gives_away) return;
  const PageSet pages = type == MessageType::kPageHandOver ? ~PageSet{0} : m.pages;
  for_each_page(BlockId{m.block}, pages, [&](PageId page) { may_be_lost_[page.value] = true; });
}

void CoherenceCluster::note_what_is_gone(NodeId node) {
  (void)node;
  for (std::uint64_t p = 0; p < latest_.size(); ++p) {
    if (!in_region_[p / kBlockPages]) continue;
    bool somewhere = false, home_lives = false;
    for (std::uint16_t n = 0; n < count(); ++n) {
      if (!counts(NodeId{n}) || !nodes_[n]->core->knows(block_of(PageId{p}))) continue;
      const coherence::Core& core = *nodes_[n]->core;
      home_lives = home_lives || core.home_of(block_of(PageId{p})) == NodeId{n};
      somewhere =
          somewhere || holds(core, PageId{p}) ||
          (core.home_of(block_of(PageId{p})) == NodeId{n} && !CoreInspector::initialised(core, block_of(PageId{p})));
    }
    // A page on its way between two survivors is with nobody for a moment, and not lost.
    for (std::uint16_t a = 0; a < count() && !somewhere; ++a) {
      for (std::uint16_t b = 0; b < count() && !somewhere; ++b) {
        if (!counts(NodeId{b})) continue;
        for (const auto& m : network_.in_flight(NodeId{a}, NodeId{b})) {
          const bool carries = m && m->body.block == p / kBlockPages &&
                               coherence::contains(m->body.carried, p % kBlockPages) && counts(NodeId{a});
          // A Put that a Forward has overtaken is no copy.
          if (carries &&
              (m->type != MessageType::kPagePut || CoreInspector::local(core(NodeId{a}), PageId{p}).evicting != 0))
            somewhere = true;
        }
      }
    }
    if (!somewhere || !home_lives) may_be_lost_[p] = true;
  }
}

void CoherenceCluster::check_lost(NodeId node, BlockId block, PageSet pages) {
  for_each_page(block, pages, [&](PageId page) {
    CHECK(may_be_lost_[page.value], "declared lost without need", node, page, core(node).describe(page));
  });
}

// ---------------------------------------------------------------------------------------------- checks

// A node with a right has the bytes written last; one that may write is alone (but for an owner whose Put has arrived
// and whose acknowledgement has not).
void CoherenceCluster::check_block(BlockId block) {
  if (!options_.check_every_page && !prng_.one_in(16)) return;
  if (options_.mutant != Mutant::kNone) return;  // those must be caught by what the program sees
  for (unsigned i = 0; i < kBlockPages; ++i) {
    const PageId page = page_at(block, i);
    unsigned readers = 0, writers = 0;
    for (std::uint16_t n = 0; n < count(); ++n) {
      if (!alive(NodeId{n}) || !core(NodeId{n}).knows(block)) continue;
      const coherence::LocalPage& p = CoreInspector::local(core(NodeId{n}), page);
      // What a node has lost it shows nobody, though it may have come to be its home.
      if (p.right() == Access::kNone || p.evicting != 0 || p.lost != 0 || may_be_old(NodeId{n}, p.right())) continue;
      (p.right() == Access::kWrite ? writers : readers) += 1;
      CHECK(frame(NodeId{n}, page) == latest_[page.value], "a right on stale bytes", core(NodeId{n}).describe(page));
    }
    CHECK(writers == 0 || writers + readers == 1, "more than one right", page, writers, readers);
  }
}

void CoherenceCluster::check_rest() {
  for (std::uint16_t n = 0; n < count(); ++n) {
    if (!alive(NodeId{n})) continue;
    CHECK(CoreInspector::at_rest(core(NodeId{n})), "something is under way for ever", n);
    CoreInspector::check_bounds(core(NodeId{n}));
  }
  for (std::uint64_t b = 0; b < in_region_.size(); ++b) {
    if (!in_region_[b]) continue;
    NodeId home = kNoNode;
    for (std::uint16_t n = 0; n < count(); ++n) {
      if (!alive(NodeId{n}) || core(NodeId{n}).home_of(BlockId{b}) != NodeId{n}) continue;
      CHECK(home == kNoNode, "two homes", b, home, n);
      home = NodeId{n};
    }
    if (home == kNoNode) {
      CHECK(may_be_lost_[b * kBlockPages], "no home", b);
      continue;
    }
    for (unsigned i = 0; i < kBlockPages; ++i) check_page_at_rest(page_at(BlockId{b}, i), home);
  }
}

void CoherenceCluster::check_page_at_rest(PageId page, NodeId home) {
  const coherence::Core& keeper = core(home);
  const coherence::DirectoryEntry& e = CoreInspector::entry(keeper, page);
  CHECK(e.busy == 0, keeper.describe(page));
  for (std::uint16_t n = 0; n < count(); ++n) {
    if (!alive(NodeId{n})) continue;
    const coherence::LocalPage& p = CoreInspector::local(core(NodeId{n}), page);
    CHECK(p.evicting == 0 && p.putting == 0 && p.pending() == Access::kNone, core(NodeId{n}).describe(page));
    if (NodeId{n} == home || p.right() == Access::kNone) continue;
    if (CoreInspector::local(keeper, page).lost != 0) continue;  // copies may live on
    const auto told = core(NodeId{n}).describe(page) + " / " + keeper.describe(page);
    if (p.right() == Access::kWrite) {
      CHECK(e.state() == PageState::kExclusive && e.owner == n, "a right unknown to the home", told);
    } else {
      CHECK(e.state() == PageState::kShared && (e.copyset & coherence::copyset_bit(NodeId{n})) != 0,
            "a copy unknown to the home", told);
    }
  }
  if (e.state() == PageState::kExclusive && alive(NodeId{static_cast<std::uint16_t>(e.owner)})) {
    const coherence::Core& owner = core(NodeId{static_cast<std::uint16_t>(e.owner)});
    CHECK(CoreInspector::local(owner, page).right() == Access::kWrite || may_be_lost_[page.value],
          "the owner has it not", owner.describe(page));
  }
}

}  // namespace gallocy::sim
