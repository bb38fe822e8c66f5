// Regions: what follows from the log as it goes on, from its members, and from time.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "os/clock.h"
#include "runtime/durable_following.h"
#include "runtime/memory_following.h"
#include "runtime/regions.h"

namespace gallocy::runtime {
namespace {

constexpr std::uint64_t kNotStartedUs = 1'000;

}  // namespace

void Regions::node_lost(NodeId node) {
  const os::MutexLock lock(mu_);
  dead_[node.value] = true;
  if (options_.long_lived && !all_joined_.is_set()) founder_lost(node);
  Turn turn(shards_.size());
  for (std::size_t i = 0; i < turn.size(); ++i) shards_[i].log.peer_down({node, life_of(node)}, now_us(), turn[i]);
  carry_out(turn);
  members_changed();
}

void Regions::tell_homes_again() {
  const os::MutexLock lock(mu_);
  for (const ShardLog& shard : shards_) {
    if (!shard.recalls) recall_homes(memory_, shard.log.machine());
  }
}

void Regions::peer_up(const vmm::Life& peer) {
  const os::MutexLock lock(mu_);
  dead_[peer.node.value] = false;
  lives_[peer.node.value] = peer.life;
  for (ShardLog& shard : shards_) shard.log.peer_up(peer);
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
bool Regions::all_founders_joined(const vmm::Log& log) const {
  return std::ranges::all_of(options_.founders, [&](NodeId node) {
    const vmm::Member* const member = log.machine().member(node);
    const std::uint64_t life = node == self_ ? options_.life : lives_[node.value];
    return member != nullptr && (dead_[node.value] || (life != 0 && member->life >= life));
  });
}

std::uint64_t Regions::life_of(NodeId node) const {
  const vmm::Member* const member = first().machine().member(node);
  if (lives_[node.value] != 0) return lives_[node.value];
  return member != nullptr ? member->life : 1;  // it has not said yet that it began another
}

void Regions::note_membership() {
  const vmm::Machine& machine = first().machine();
  const auto has_all = [&](const ShardLog& shard) { return has_begun(shard.log) && all_founders_joined(shard.log); };
  if (!all_joined_.is_set() && std::ranges::all_of(shards_, has_all)) all_joined_.set();
  std::uint64_t epochs = 0;
  for (const ShardLog& shard : shards_) epochs += shard.log.machine().epoch().value;
  if (epochs == std::exchange(epochs_, epochs)) return;
  epoch_ = machine.epoch().value;
  for (const auto& [node, member] : machine.all_members()) {
    if (member.life < life_of(node)) continue;  // of a log that is on disk: it is over
    if (member.state == vmm::MemberState::kLeft && !left_everywhere({node, member.life})) continue;
    if (std::exchange(told_[node], member.since) != member.since && member_news_)
      member_news_(node, member, machine.epoch());
  }
  if (membership_news_) membership_news_(machine);
  members_changed();
}

void Regions::tick() {
  const os::MutexLock lock(mu_);
  if (!started_) return;
  announce_new_homes();
  if (options_.settles) settle();
  if (disk_ != nullptr) propose_lives();
  if (unsaid_ && durable_.journal_begun()) {
    unsaid_ = false;
    for (const RegionId region : mapped_) say_it_is_here(region);
  }
}

// A step that the log did not take, as its epoch was over, is looked at again.
void Regions::settle() {
  constexpr std::int64_t kAgainUs = 1'000'000;
  const std::int64_t now = os::monotonic_us();
  if (now < settles_on_us_ || !first().usable() || !has_begun(first())) return;
  const auto entry =
      settling_step(first().machine(), self_, [this](Epoch epoch) { return durable_.may_go_on_settling(epoch); });
  if (!entry) return;
  settles_on_us_ = now + kAgainUs;
  log_event(LogLevel::kInfo, "settling", "step", static_cast<int>(entry->step), "epoch", entry->epoch.value);
  Turn turn(shards_.size());
  hand_in(*entry, next_ticket_++, turn);
  carry_out(turn);
}

void Regions::housekeeping() {
  const std::int64_t now = os::monotonic_us();
  if (now < next_due_us_.load(std::memory_order_relaxed)) return;
  const os::MutexLock lock(mu_);
  Turn turn(shards_.size());
  for (std::size_t i = 0; started_ && i < turn.size(); ++i)
    shards_[i].log.tick(static_cast<std::uint64_t>(now), turn[i]);
  carry_out(turn);
}

// In the order that vmm/replication.h demands. The first shard goes first, as the others follow its members.
void Regions::carry_out(Turn& turn) {
  for (std::uint32_t i = 0; i < turn.size(); ++i) {
    ShardLog& shard = shards_[i];
    if (started_ && i > 0) shard.log.follow_members(first().machine(), now_us(), turn[i]);
    if (started_) shard.log.flush(now_us(), turn[i]);
    follow(shard, turn[i]);
    for (raft::Persist& persist : turn[i].persist) disk_->write(i, std::move(persist));
  }
  if (leaver_news_due_) note_leaver();
  note_membership();
  const vmm::Effects& of_first = turn.front();
  if (has_begun(first()) && (of_first.restored || !of_first.applied.empty())) durable_.follow(first().machine());
  if (const auto usable = first().usable(); !usable) durable_.stop(usable.error());
  for (std::uint32_t i = 0; i < turn.size(); ++i) {
    send_all(i, turn[i]);
    for (vmm::Resolved& resolved : turn[i].resolved) {
      answer_newcomer(resolved);
      life_answered(resolved);
      resolve(resolved);
    }
  }
  const auto lets_go = [this](const ShardLog& shard) { return can_do_without_us(shard.log); };
  if (left_everywhere({self_, options_.life}) && std::ranges::all_of(shards_, lets_go)) may_go_.set();
  constexpr std::uint64_t kLongestUs = 1'000'000;
  std::uint64_t due = now_us() + (started_ ? kLongestUs : kNotStartedUs);
  for (std::size_t i = 0; started_ && i < shards_.size(); ++i) due = std::min(due, shards_[i].log.next_deadline());
  next_due_us_ = static_cast<std::int64_t>(due);
}

void Regions::follow(ShardLog& shard, vmm::Effects& effects) {
  if (effects.restored) take_over(shard);
  for (const vmm::Applied& applied : effects.applied) {
    if (applied.outcome) follow(shard, applied);
  }
  if (shard.recalls && has_begun(shard.log)) shard.recalls = false, recall_homes(memory_, shard.log.machine());
}

bool Regions::can_do_without_us(const vmm::Log& log) const { return !log.votes() || log.machine().members().empty(); }

// Exactly so: somebody who died later has not.
bool Regions::left_everywhere(const vmm::Life& life) const {
  return std::ranges::all_of(
      shards_, [&](const ShardLog& shard) { return shard.log.machine().standing(life) == vmm::Standing::kLeft; });
}

void Regions::answer_newcomer(const vmm::Resolved& resolved) {
  const auto found = admissions_.find(resolved.ticket.value);
  if (found == admissions_.end()) return;
  const Admission admission = std::move(found->second);
  admissions_.erase(found);
  const auto answer = resolved.outcome.map([&](const vmm::Outcome& outcome) {
    vmm::Admitted admitted = vmm::admitted(first().machine(), outcome);
    admitted.cluster = cluster();
    admitted.shards = options_.shards;
    return admitted;
  });
  for (const vmm::Frame& frame : vmm::encode(admission.newcomer, answer)) admission.answer(frame);
}

void Regions::follow(const ShardLog& shard, const vmm::Applied& applied) {
  const vmm::Machine& machine = shard.log.machine();
  if (std::holds_alternative<vmm::MapRegion>(applied.entry)) {
    if (const vmm::Region* region = machine.region(applied.outcome->region)) appeared(*region);
  } else if (const auto* homes = std::get_if<vmm::BlockHomes>(&applied.entry)) {
    if (shard.recalls) return;
    follow_homes(memory_, applied.proposer, *homes);
  } else if (std::holds_alternative<vmm::MemberLeaves>(applied.entry) ||
             std::holds_alternative<vmm::MemberStays>(applied.entry)) {
    leaver_news_due_ = true;
  } else if (const auto* left = std::get_if<vmm::MemberLeft>(&applied.entry)) {
    if (left->node != self_) follow_anchors(machine);
  }
}

void Regions::follow_anchors(const vmm::Machine& machine) {
  for (const auto& [id, region] : machine.regions()) memory_.anchors_are(region.address, region.spread);
}

void Regions::pass_on_what_waits() {
  const os::MutexLock lock(mu_);
  for (const ShardLog& shard : shards_) follow_anchors(shard.log.machine());
}

// Who is about to leave is told when all shards have it: from then on none of them places a region there.
void Regions::note_leaver() {
  leaver_news_due_ = false;
  const vmm::Machine& machine = first().machine();
  const NodeId leaver = machine.leaver();
  const bool agreed =
      std::ranges::all_of(shards_, [&](const ShardLog& shard) { return shard.log.machine().leaver() == leaver; });
  const NodeId before = std::exchange(leaver_, agreed ? leaver : kNoNode);
  if (!leaver_news_) return;
  if (before != kNoNode && before != leaver_ && machine.is_member(before)) leaver_news_(before, false, machine.epoch());
  if (leaver_ != kNoNode) leaver_news_(leaver_, true, machine.epoch());
}

void Regions::take_over(const ShardLog& shard) {
  const vmm::Machine& machine = shard.log.machine();
  leaver_news_due_ = true;
  for (const auto& [id, region] : machine.regions()) appeared(region);
  follow_anchors(machine);
  if (!shard.recalls) recall_homes(memory_, machine);
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
