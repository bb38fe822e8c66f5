#include "whole_cluster.h"

#include <algorithm>

#include "base/check.h"
#include "durable_cluster.h"
#include "network.h"
#include "runtime/sync_following.h"

namespace gallocy::sim {
namespace {

using durable::Core;

constexpr std::uint64_t kTickUs = 100'000;
constexpr std::uint64_t kSilenceUs = 700'000, kLaterUs = 500'000;  // until a node is taken for dead
constexpr std::uint64_t kIntroduceUs = 5'000;
constexpr std::uint64_t kSettleAgainUs = 300'000;
constexpr const char* kRegion = "accounts";

}  // namespace

std::uint64_t WholeCluster::digest() const {
  const std::uint64_t digest = mix(log_.digest(), digest_);
  return memory_ ? mix(mix(digest, memory_->digest()), sync_->digest()) : digest;
}

WholeCluster::WholeCluster(const WholeOptions& options)
    : options_(options), prng_(options.log.seed * 31 + 5), log_(options.log) {
  log_.on_start = [this](NodeId node) { started(node); };
  log_.on_end = [this](NodeId node) { ended(node); };
  log_.on_change = [this](NodeId node) { followed(node); };
  log_.on_peer_up = [this](NodeId node, NodeId other) { linked(node, other); };
  log_.on_peer_down = [this](NodeId node, NodeId other) { lost(node, other); };
  if (options.coherent) begin_memory(), begin_sync(), begin_leaves();
  for (std::uint16_t n = 0; n < nodes(); ++n) started(NodeId{n});
  map_region();
}

void WholeCluster::begin_memory() {
  const Mutant mutant = options_.bug == WholeBug::kPagesPlaced ? Mutant::kPlaceEverything : Mutant::kNone;
  memory_.emplace(log_, WholeMemoryOptions{.seed = options_.log.seed * 17 + 1,
                                           .trace = options_.trace,
                                           .mutant = mutant,
                                           .ignores_homes = options_.bug == WholeBug::kPagesNoHomes});
  memory_->on_send = [this](NodeId from, NodeId to) { enqueue(from, to, {.kind = Frame::Kind::kPages}); };
  memory_->is_linked = [this](NodeId from, NodeId to) { return up(to) && !log_.parted(from, to); };
  log_.on_applied = [this](NodeId node, const vmm::Applied& applied) {
    memory_->applied(node, applied);
    leaves_->applied(node, applied);
  };
  log_.on_restored = [this](NodeId node) { memory_->restored(node), leaves_->restored(node); };
}

void WholeCluster::begin_sync() {
  const bool forgets = options_.bug == WholeBug::kLocksForget;
  sync_.emplace(WholeMemory::kMostNodes, forgets ? sync::FaultInjection::kForgetOrphan : sync::FaultInjection::kNone);
  sync_->on_send = [this](NodeId from, NodeId to, const wire::SyncMessage& message) {
    send(from, to, {.kind = Frame::Kind::kSync, .sync = message});
  };
}

void WholeCluster::begin_leaves() {
  const WholeBug bug = options_.bug;
  leaves_.emplace(log_, *memory_, *sync_,
                  bug == WholeBug::kLeaveUnheard  ? LeaveBug::kUnheard
                  : bug == WholeBug::kLeaveUnsaid ? LeaveBug::kUnsaid
                                                  : LeaveBug::kNone);
  leaves_->on_farewell = [this](NodeId from, NodeId to, Epoch epoch) {
    send(from, to, {.kind = Frame::Kind::kFarewell, .epoch = epoch});
  };
  leaves_->is_released = [this](NodeId node) { return !host(node).durable || host(node).durable->may_leave(); };
  sync_->on_recall = [this](NodeId from, NodeId to, const wire::SyncRecall& recall) {
    send(from, to, {.kind = Frame::Kind::kRecall, .recall = recall});
  };
}

// When all founders are members.
void WholeCluster::map_region() {
  log_.at(kTickUs, [this] {
    if (log_.log(NodeId{0}).machine().members().size() < options_.log.nodes) return map_region();
    log_.propose(NodeId{0},
                 vmm::MapRegion{.name = kRegion,
                                .bytes = options_.blocks * kBlockBytes,
                                .placement = {},
                                .durable_backups = options_.backups},
                 log_.fresh_ticket());
  });
}

std::vector<NodeId> WholeCluster::up_nodes() const {
  std::vector<NodeId> nodes;
  for (std::uint16_t n = 0; n < this->nodes(); ++n) {
    if (up(NodeId{n})) nodes.push_back(NodeId{n});
  }
  return nodes;
}

// ---------------------------------------------------------------------------------------------- lives

void WholeCluster::started(NodeId node) {
  if (node.value >= hosts_.size()) hosts_.resize(node.value + std::size_t{1});
  hosts_[node.value].emplace(node);
  if (memory_) {
    const std::vector<NodeId> present = whom_it_meets(node);
    memory_->start(node, present), sync_->start(node, present), leaves_->start(node, present);
  }
  tick(node, log_.life(node));
}

// Not those who had left when it was admitted, and are not quite gone yet.
std::vector<NodeId> WholeCluster::whom_it_meets(NodeId node) {
  std::vector<NodeId> nodes = up_nodes();
  for (const NodeId knows : up_nodes()) {
    const auto& members = log_.log(knows).machine().all_members();
    if (!members.contains(node)) continue;
    std::erase_if(nodes, [&](NodeId other) {
      return members.contains(other) && members.at(other).state == vmm::MemberState::kLeft &&
             members.at(other).since < members.at(node).since;
    });
    break;
  }
  return nodes;
}

// Each other still gets some of what is on the way from it.
void WholeCluster::ended(NodeId node) {
  hosts_[node.value].reset();
  if (leaves_ && leaves_->has_left(node)) return left(node);
  for (auto& [ends, link] : links_) {
    if (ends.second == node) link.frames.clear();
    if (ends.first == node) link.frames.resize(prng_.below(link.frames.size() + 1));
  }
  if (memory_)
    memory_->stop(node, [&](NodeId to) { return pages_on(node, to); }), sync_->stop(node), leaves_->stop(node);
  if (on_end) on_end(node);
}

// In order: all it sent arrives, and then the end of its links.
void WholeCluster::left(NodeId node) {
  for (auto& [ends, link] : links_) {
    if (ends.second == node) link.frames.clear();
  }
  memory_->retire(node);
  for (const NodeId other : up_nodes()) {
    if (leaves_->has_met(other, node) && !log_.parted(other, node))
      enqueue(node, other, {.kind = Frame::Kind::kClosed});
  }
  sync_->stop(node);
  if (on_end) on_end(node);
  leaves_->stop(node);
}

std::size_t WholeCluster::pages_on(NodeId from, NodeId to) const {
  const auto link = links_.find({from, to});
  if (link == links_.end()) return 0;
  return static_cast<std::size_t>(std::ranges::count(link->second.frames, Frame::Kind::kPages, &Frame::kind));
}

void WholeCluster::linked(NodeId node, NodeId other) {
  Host& h = host(node);
  if (leaves_ && !leaves_->has_met(other, node)) return;
  h.lease.connection_made(other);
  if (!memory_) return;
  leaves_->linked(node, other);
  // The log had it dead before it came.
  if (h.buried.contains(other))
    return log_.at(1, [this, node, other] {
      if (up(node) && up(other)) log_.miss(node, other);
    });
  memory_->node_joined(node, other);
  if (options_.bug != WholeBug::kLocksAlone || node.value < options_.log.nodes) sync_->node_joined(node, other);
}

void WholeCluster::lost(NodeId node, NodeId other) {
  Host& h = host(node);
  // The other end sees it, when the link lets it.
  if (up(other)) enqueue(node, other, {.kind = Frame::Kind::kClosed});
  if (leaves_ && leaves_->parted(node, other)) return;
  h.lease.connection_lost(other);
  if (memory_ && options_.bug == WholeBug::kPagesAtOnce) memory_->bury(node, other);
  if (memory_ && options_.bug == WholeBug::kLocksAtOnce) sync_->bury(node, other);
  if (options_.bug != WholeBug::kDeathAtOnce || !h.durable) return;
  durable::Membership membership = h.durable->history().membership();
  ++membership.epoch.value;
  std::erase(membership.bystanders, other);
  if (std::erase(membership.nodes, other) != 0 && !membership.nodes.empty()) h.durable->epoch(membership);
  carry_out(node);
}

// ---------------------------------------------------------------------------------------------- the log

// As Runtime::bury_the_declared. Nothing more is taken from them.
void WholeCluster::bury_the_declared(NodeId node) {
  Host& h = host(node);
  const vmm::Machine& machine = log_.log(node).machine();
  if (std::exchange(h.told_of_deaths, machine.epoch()) == machine.epoch()) return;
  std::vector<NodeId> dead;
  for (const auto& [other, member] : machine.all_members()) {
    if (member.state == vmm::MemberState::kDied && h.buried.insert(other).second) dead.push_back(other);
  }
  for (const NodeId other : dead) bury(node, other);
}

void WholeCluster::bury(NodeId node, NodeId dead) {
  memory_->supersede(dead);
  if (declared_dead_.insert(dead).second && on_declared_dead) on_declared_dead(dead);
  if (node == dead) return;  // it ends soon
  if (!log_.parted(node, dead)) log_.miss(node, dead);
  if (options_.bug != WholeBug::kPagesUntold) memory_->bury(node, dead);
  if (options_.bug != WholeBug::kLocksUntold) sync_->bury(node, dead);
  leaves_->buried(node, dead);
}

// As Runtime::settle_in, on a thread of its own.
void WholeCluster::settle_in(NodeId node) {
  if (std::exchange(host(node).introducing, true)) return;
  log_.at(prng_.below(kIntroduceUs), [this, node] {
    if (!up(node)) return;
    const vmm::Machine& machine = log_.log(node).machine();
    sync_->introduce(node, runtime::gone_before(machine), runtime::homes_moved(machine));
  });
}

// As Regions::carry_out: durable memory follows at once, and then the dead are buried.
void WholeCluster::followed(NodeId node) {
  if (leaves_) leaves_->followed(node);
  follow_with_durable(node);
  if (!memory_ || !up(node)) return;
  if (log_.log(node).machine().is_member(node)) settle_in(node);
  bury_the_declared(node);
}

void WholeCluster::follow_with_durable(NodeId node) {
  Host& h = host(node);
  const vmm::Machine& machine = log_.log(node).machine();
  if (!h.durable) return begin(node, machine);
  const auto& regions = machine.regions();
  if (h.durable->epoch() >= machine.epoch() && regions.lower_bound(h.next_region) == regions.end()) return;
  runtime::follow_durable(*h.durable, machine, h.next_region);
  if (leaves_ && leaves_->is_leaving(node) && !machine.is_member(node)) return h.durable.reset();  // it has left
  if (!machine.is_member(node)) return;
  h.lease.members(runtime::peers_of(*h.durable));
  ask_for_lease(node);
  carry_out(node);
}

void WholeCluster::begin(NodeId node, const vmm::Machine& machine) {
  Host& h = host(node);
  if (options_.bug == WholeBug::kForgetRegion && machine.is_member(node)) {
    // As if the region were mapped only now.
    const durable::History history({.epoch = machine.epoch(), .nodes = machine.members()});
    h.durable.emplace(node, history, std::span<const durable::DurableRegion>(), options_.durable);
    for (const auto& [id, region] : machine.regions())
      h.durable->map_region(region.first_block(), region.blocks(), region.durable_backups),
          h.next_region = RegionId{id.value + 1};
  } else {
    runtime::begin_durable(h.durable, node, machine, options_.durable, h.next_region);
  }
  if (!h.durable) return;
  h.lease.members(runtime::peers_of(*h.durable));
  ask_for_lease(node);
  for (const auto& [from, message] : std::exchange(h.early, {})) CHECK(h.durable->message(from, message), from, node);
  carry_out(node);
}

bool WholeCluster::serves(NodeId node) const {
  return node.value < nodes() && up(node) && hosts_[node.value]->durable &&
         !hosts_[node.value]->durable->regions().empty();
}

std::uint64_t WholeCluster::address(std::uint64_t block, std::uint32_t offset) const {
  for (const NodeId node : up_nodes()) {
    if (!serves(node)) continue;
    const BlockId first = hosts_[node.value]->durable->regions().front().first;
    return kWindowBase + (first.value + block) * kBlockBytes + offset;
  }
  CHECK(false, "nobody has the region");
  return 0;
}

// As Regions::settle.
void WholeCluster::settle(NodeId node) {
  Host& h = host(node);
  if (!stays(node) || !h.durable || now() < h.settles_on_us) return;
  const bool at_once = options_.bug == WholeBug::kSettleAtOnce;
  const auto entry = runtime::settling_step(log_.log(node).machine(), node, [&](Epoch epoch) {
    return h.durable->epoch() == epoch && (at_once || h.durable->may_go_on_settling());
  });
  if (!entry) return;
  h.settles_on_us = now() + (at_once ? 0 : kSettleAgainUs);
  log_.propose(node, *entry, log_.fresh_ticket());
}

bool WholeCluster::stays(NodeId node) const {
  return options_.who_settles == WhoSettles::kAll || (options_.who_settles == WhoSettles::kSome && node.value % 2 == 0);
}

// ---------------------------------------------------------------------------------------------- callers and timers

void WholeCluster::read(NodeId node, durable::Ticket ticket, std::uint64_t address, std::uint32_t bytes,
                        durable::Await await) {
  host(node).durable->read(ticket, address, bytes, await);
  carry_out(node);
}

void WholeCluster::commit(NodeId node, durable::Ticket ticket, std::span<const durable::Item> items) {
  host(node).durable->commit(ticket, items);
  carry_out(node);
}

void WholeCluster::tick(NodeId node, std::uint64_t life) {
  log_.at(1 + prng_.below(kTickUs), [this, node, life] {
    if (!up(node) || log_.life(node) != life) return;
    if (memory_) memory_->beat(node), sync_->tick(node);
    if (Host& h = host(node); h.durable) {
      ask_for_lease(node);
      h.durable->flush();
      carry_out(node);
      settle(node);
    }
    tick(node, life);
  });
}

void WholeCluster::ask_for_lease(NodeId node) {
  for (const NodeId member : host(node).durable->history().members()) {
    if (member != node) send(node, member, {.kind = Frame::Kind::kAsk, .asked_us = now()});
  }
}

void WholeCluster::carry_out(NodeId node) {
  Host& h = host(node);
  if (!h.durable) return;
  const std::uint64_t late = options_.bug == WholeBug::kLongLease ? 2 * kSilenceUs : 0;
  const bool sure = options_.bug == WholeBug::kNoLease || h.lease.held(now() > late ? now() - late : now());
  h.durable->set_lease(sure ? durable::Lease::kHeld : durable::Lease::kLapsed);
  durable::Effects effects = h.durable->take_effects();
  h.durable->check_invariants();
  const std::uint64_t life = log_.life(node);
  for (auto& [to, message] : effects.messages)
    send(node, to, {.kind = Frame::Kind::kDurable, .message = std::move(message)});
  for (const auto& done : effects.reads) {
    if (on_read && up(node) && log_.life(node) == life) on_read(node, done);
  }
  for (const auto& done : effects.commits) {
    if (on_commit && up(node) && log_.life(node) == life) on_commit(node, done);
  }
}

// ---------------------------------------------------------------------------------------------- links

void WholeCluster::send(NodeId from, NodeId to, Frame frame) {
  if (to.value >= nodes() || !up(to) || log_.parted(from, to)) return;  // a member may not be there yet
  enqueue(from, to, std::move(frame));
}

void WholeCluster::enqueue(NodeId from, NodeId to, Frame frame) {
  Link& link = links_[{from, to}];
  if (link.life_from != log_.life(from) || link.life_to != log_.life(to)) {
    const std::uint64_t cut = link.cut;
    link = {.frames = {}, .life_from = log_.life(from), .life_to = log_.life(to), .last_arrival = 0, .cut = cut};
  }
  ++messages_;
  link.frames.push_back(std::move(frame));
  link.last_arrival = std::max(link.last_arrival, now() + 1 + prng_.below(options_.delay_us));
  log_.at(link.last_arrival - now(), [this, from, to] { deliver(from, to); });
}

void WholeCluster::deliver(NodeId from, NodeId to) {
  Link& link = links_[{from, to}];
  if (link.frames.empty() || log_.is_cut(from, to)) return;
  const bool same = log_.life(from) == link.life_from && up(to) && log_.life(to) == link.life_to;
  const bool arrives = same && !log_.parted(to, from), pages = link.frames.front().kind == Frame::Kind::kPages;
  if (arrives && pages && memory_->begin_receiving(from, to))
    return log_.at(1 + prng_.below(options_.delay_us), [this, from, to] { deliver(from, to); });
  const Frame frame = std::move(link.frames.front());
  link.frames.pop_front();
  if (!arrives && pages) memory_->drop(from, to);
  if (!arrives) return;
  digest_ = mix(digest_, now() * 1000 + from.value * 31 + to.value);
  arrived(from, to, frame);
}

void WholeCluster::arrived(NodeId from, NodeId to, const Frame& frame) {
  Host& h = host(to);
  switch (frame.kind) {
    case Frame::Kind::kAsk:
      return send(to, from, {.kind = Frame::Kind::kAnswer, .asked_us = frame.asked_us});
    case Frame::Kind::kClosed:
      return log_.miss(to, from);
    case Frame::Kind::kPages:
      return memory_->arrive(from, to);
    case Frame::Kind::kSync:
      return sync_->arrive(from, to, frame.sync);
    case Frame::Kind::kRecall:
      return sync_->take_back(to, frame.recall);
    case Frame::Kind::kFarewell:
      return leaves_->farewell(from, to, frame.epoch);
    case Frame::Kind::kAnswer:
      h.lease.answered(from, frame.asked_us);
      break;
    case Frame::Kind::kDurable: {
      const auto decoded = durable::decode(type_of(frame.message), durable::encode(frame.message));
      CHECK(decoded.has_value(), from, to);
      if (!h.durable) return h.early.emplace_back(from, *decoded), void();
      CHECK(h.durable->message(from, *decoded) || options_.bug != WholeBug::kNone, from, to,
            static_cast<int>(frame.message.verb));
      break;
    }
  }
  carry_out(to);
}

// What is sent meanwhile waits. After a second each end that hears nothing takes the other for dead.
void WholeCluster::cut(NodeId from, NodeId to) {
  log_.cut(from, to);
  Link& link = links_[{from, to}];
  const std::uint64_t which = ++link.cut;
  for (const auto& [node, other] : {std::pair(from, to), std::pair(to, from)}) {
    const std::uint64_t life = log_.life(node), life_of_other = log_.life(other);
    log_.at(kSilenceUs + prng_.below(kLaterUs), [=, this] {
      const bool same = up(node) && log_.life(node) == life && up(other) && log_.life(other) == life_of_other;
      if (!same || !log_.is_cut(from, to) || links_[{from, to}].cut != which || log_.parted(node, other)) return;
      ++silences_;
      log_.miss(node, other);
    });
  }
}

void WholeCluster::mend(NodeId from, NodeId to) {
  if (!log_.is_cut(from, to)) return;
  log_.mend(from, to);
  Link& link = links_[{from, to}];
  for (std::size_t i = 0; i < link.frames.size(); ++i) log_.at(1 + i, [this, from, to] { deliver(from, to); });
  link.last_arrival = std::max(link.last_arrival, now() + 1 + link.frames.size());
}

void WholeCluster::mend_all() {
  for (std::uint16_t a = 0; a < nodes(); ++a) {
    for (std::uint16_t b = 0; b < nodes(); ++b) mend(NodeId{a}, NodeId{b});
  }
}

// ---------------------------------------------------------------------------------------------- the end

bool WholeCluster::restored() {
  const std::vector<NodeId> nodes = up_nodes();
  for (const NodeId node : nodes) {
    const Host& h = host(node);
    if (!serves(node) || !h.lease.held(now()) || h.durable->history().members() != nodes || h.durable->unrestored() > 0)
      return false;
    for (const NodeId other : nodes) {
      if (log_.parted(node, other)) return false;
    }
  }
  return !nodes.empty();
}

bool WholeCluster::settled() {
  return std::ranges::all_of(up_nodes(), [this](NodeId node) {
    const vmm::Machine& machine = log_.log(node).machine();
    return machine.settler() == kNoNode && !(stays(node) && machine.is_unsettled(node));
  });
}

std::uint64_t WholeCluster::settlings() {
  const NodeId any = up_nodes().front();
  return static_cast<std::uint64_t>(std::ranges::count(log_.log(any).machine().membership_changes(),
                                                       vmm::MembershipChange::Kind::kSettled,
                                                       &vmm::MembershipChange::kind));
}

const Core& WholeCluster::primary(std::uint64_t block) {
  const BlockId id = block_of(page_of(address(block, 0)));
  for (const NodeId node : up_nodes()) {
    if (serves(node) && host(node).durable->company(id).primary() == node) return *host(node).durable;
  }
  CHECK(false, "no primary", block);
  std::abort();
}

std::string WholeCluster::describe(NodeId node) {
  const Host& h = host(node);
  if (!h.durable) return "no durable memory yet";
  return fmt::format("epoch {}, {}, {} open, {} records, {} not restored", h.durable->epoch(),
                     h.lease.held(now()) ? "sure" : "not sure", h.durable->open(), h.durable->records(),
                     h.durable->unrestored());
}

void WholeCluster::check_rest() {
  CHECK(restored(), "redundancy is not back");
  if (memory_) memory_->check_rest(), sync_->check_rest();
  for (const NodeId node : up_nodes()) {
    const Core& core = *host(node).durable;
    CHECK(core.open() == 0, "hangs", node, core.open());
    CHECK(core.records() == 0, "a record is kept", node, core.records());
  }
  const bool somebody_left = leaves_ && leaves_->counters().begun > 0;
  for (std::uint64_t b = 0; b < options_.blocks; ++b) {
    const BlockId block = block_of(page_of(address(b, 0)));
    check_copies(block, options_.backups, up_nodes(),
                 [this](NodeId node) -> const Core& { return *host(node).durable; });
    if (options_.who_settles == WhoSettles::kAll && !somebody_left)
      check_share(block, options_.backups, {.epoch = Epoch{1}, .nodes = up_nodes()}, primary(b).company(block));
  }
}

}  // namespace gallocy::sim
