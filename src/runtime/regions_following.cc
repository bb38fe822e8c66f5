// Regions: what follows from the log as it goes on, from its members, and from time.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "os/clock.h"
#include "runtime/regions.h"

namespace gallocy::runtime {
namespace {

constexpr std::uint64_t kNotStartedUs = 1'000;

}  // namespace

void Regions::node_lost(NodeId node) {
  const os::MutexLock lock(mu_);
  dead_[node.value] = true;
  if (options_.long_lived && !all_joined_.is_set()) founder_lost(node);
  vmm::Effects effects;
  log_.peer_down({node, life_of(node)}, now_us(), effects);
  carry_out(effects);
  members_changed();
}

void Regions::peer_up(const vmm::Life& peer) {
  const os::MutexLock lock(mu_);
  dead_[peer.node.value] = false;
  lives_[peer.node.value] = peer.life;
  log_.peer_up(peer);
}

// Those who have the log of all nodes may begin without it only when they have agreed on that; this node cannot know.
void Regions::founder_lost(NodeId node) {
  if (std::ranges::find(options_.founders, node) == options_.founders.end()) return;
  lost_too_soon_ =
      Error{ErrorCode::kPeerLost, fmt::format("node {} was lost before the cluster had begun again", node)};
  all_joined_.set();
  for (auto& [first, waiter] : std::exchange(waiters_, {})) {
    waiter->outcome = tl::unexpected(*lost_too_soon_);
    waiter->flag.set();
  }
}

// Who has a region, and who has to have it, may look different now.
void Regions::members_changed() {
  if (coordinator() != std::exchange(coordinator_, coordinator())) {
    for (const RegionId region : mapped_) say_it_is_here(region);
  }
  std::vector<RegionId> open;
  for (const auto& [region, nodes] : here_) open.push_back(region);
  for (const RegionId region : open) tell_if_everywhere(region);
  for (WaitFlag* waiter : std::exchange(region_waiters_, {})) waiter->set();
}

// In their present lives: a log on disk has the former ones.
bool Regions::all_founders_joined() const {
  return std::ranges::all_of(options_.founders, [&](NodeId node) {
    const vmm::Member* const member = log_.machine().member(node);
    const std::uint64_t life = node == self_ ? options_.life : lives_[node.value];
    return member != nullptr && (dead_[node.value] || (life != 0 && member->life >= life));
  });
}

std::uint64_t Regions::life_of(NodeId node) const {
  const vmm::Member* const member = log_.machine().member(node);
  if (lives_[node.value] != 0) return lives_[node.value];
  return member != nullptr ? member->life : 1;  // it has not said yet that it began another
}

void Regions::note_membership() {
  const vmm::Machine& machine = log_.machine();
  if (!all_joined_.is_set() && has_begun() && all_founders_joined()) all_joined_.set();
  if (machine.epoch() == epoch()) return;
  epoch_ = machine.epoch().value;
  for (const auto& [node, member] : machine.all_members()) {
    if (member.life < life_of(node)) continue;  // of a log that is on disk: it is over
    if (std::exchange(told_[node], member.since) != member.since && member_news_)
      member_news_(node, member, machine.applied());
  }
  members_changed();
}

void Regions::tick() {
  const os::MutexLock lock(mu_);
  if (!started_) return;
  announce_new_homes();
  if (disk_ != nullptr) propose_lives();
  if (unsaid_ && durable_.journal_begun()) {
    unsaid_ = false;
    for (const RegionId region : mapped_) say_it_is_here(region);
  }
}

void Regions::housekeeping() {
  const std::int64_t now = os::monotonic_us();
  if (now < next_due_us_.load(std::memory_order_relaxed)) return;
  const os::MutexLock lock(mu_);
  vmm::Effects effects;
  if (started_) log_.tick(static_cast<std::uint64_t>(now), effects);
  carry_out(effects);
}

// In the order that vmm/replication.h demands.
void Regions::carry_out(vmm::Effects& effects) {
  if (started_) log_.flush(now_us(), effects);
  if (effects.restored) take_over();
  for (const vmm::Applied& applied : effects.applied) {
    if (applied.outcome) follow(applied);
  }
  if (recalls_ && has_begun()) recalls_ = false, take_hints();
  for (raft::Persist& persist : effects.persist) disk_->write(std::move(persist));
  note_membership();
  if (has_begun() && (effects.restored || !effects.applied.empty())) durable_.follow(log_.machine());
  if (const auto usable = log_.usable(); !usable) durable_.stop(usable.error());
  for (const vmm::Send& send : effects.sends) {
    const wire::FrameHeader header{.type = static_cast<std::uint16_t>(send.type),
                                   .body_bytes = static_cast<std::uint32_t>(send.body.size())};
    for (const NodeId to : send.to) mesh_->send(to, header, send.body, {}, net::WhenFull::kQueue);
  }
  for (vmm::Resolved& resolved : effects.resolved) {
    answer_newcomer(resolved);
    life_answered(resolved);
    resolve(resolved);
  }
  if (log_.machine().standing({self_, options_.life}) == vmm::Standing::kLeft && can_do_without_us()) may_go_.set();
  constexpr std::uint64_t kLongestUs = 1'000'000;
  next_due_us_ = static_cast<std::int64_t>(started_ ? std::min(log_.next_deadline(), now_us() + kLongestUs)
                                                    : now_us() + kNotStartedUs);
}

bool Regions::can_do_without_us() const { return !log_.votes() || log_.machine().members().empty(); }

void Regions::answer_newcomer(const vmm::Resolved& resolved) {
  const auto found = admissions_.find(resolved.ticket.value);
  if (found == admissions_.end()) return;
  const Admission admission = std::move(found->second);
  admissions_.erase(found);
  const auto answer = resolved.outcome.map([&](const vmm::Outcome& outcome) {
    vmm::Admitted admitted = vmm::admitted(log_.machine(), outcome);
    admitted.cluster = cluster();
    return admitted;
  });
  for (const vmm::Frame& frame : vmm::encode(admission.newcomer, answer)) admission.answer(frame);
}

void Regions::follow(const vmm::Applied& applied) {
  if (std::holds_alternative<vmm::MapRegion>(applied.entry)) {
    if (const vmm::Region* region = log_.machine().region(applied.outcome->region)) appeared(*region);
  } else if (const auto* homes = std::get_if<vmm::BlockHomes>(&applied.entry)) {
    if (recalls_) return;
    for (const vmm::HomeRun& run : homes->runs) {
      if (run.home != applied.proposer) memory_.home_given(run.first, run.count, applied.proposer, run.home);
      memory_.home_hint(run.first, run.count, run.home);
    }
  } else if (const auto* leaves = std::get_if<vmm::MemberLeaves>(&applied.entry)) {
    note_leaver(leaves->node, true, applied.index);
  } else if (const auto* stays = std::get_if<vmm::MemberStays>(&applied.entry)) {
    note_leaver(stays->node, false, applied.index);
  } else if (const auto* left = std::get_if<vmm::MemberLeft>(&applied.entry)) {
    if (left->node == self_) {
      leaves_at_ = applied.index;
    } else {
      follow_anchors();
    }
  }
}

void Regions::follow_anchors() {
  for (const auto& [id, region] : log_.machine().regions()) memory_.anchors_are(region.address, region.spread);
}

void Regions::pass_on_what_waits() {
  const os::MutexLock lock(mu_);
  follow_anchors();
}

void Regions::note_leaver(NodeId node, bool leaves, LogIndex index) {
  leaver_ = leaves ? node : kNoNode;
  if (leaves && node == self_) leaves_at_ = index;
  if (leaver_news_) leaver_news_(node, leaves, index);
}

void Regions::take_over() {
  const vmm::Machine& machine = log_.machine();
  if (leaver_ != kNoNode && leaver_ != machine.leaver()) note_leaver(leaver_, false, machine.applied());
  if (machine.leaver() != kNoNode) note_leaver(machine.leaver(), true, machine.applied());
  for (const auto& [id, region] : log_.machine().regions()) {
    appeared(region);
    memory_.anchors_are(region.address, region.spread);
  }
  if (!recalls_) take_hints();
}

void Regions::take_hints() {
  for (const auto& [id, region] : log_.machine().regions()) {
    region.homes.for_each_run(
        [&](BlockId first, std::uint64_t count, NodeId home) { memory_.home_hint(first, count, home); });
  }
}

void Regions::appeared(const vmm::Region& region) {
  if (std::ranges::find(mapped_, region.id) != mapped_.end()) return;
  mapped_.push_back(region.id);
  auto added = region.durable_backups > 0
                   ? sections_.add_region(region.name, region.address, region.blocks() * kBlockBytes)
                   : memory_.add_region(region.name, region.address, region.bytes, region.placement, region.spread);
  if (!added) {
    // The log says that this node has it, so it must.
    die(static_cast<int>(added.error().code), "gallocy: " + added.error().message);
  }
  say_it_is_here(region.id);
  for (WaitFlag* waiter : std::exchange(region_waiters_, {})) waiter->set();
}

}  // namespace gallocy::runtime
