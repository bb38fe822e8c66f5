#include "vmm/machine.h"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace gallocy::vmm {
namespace {

tl::unexpected<Error> no_region(RegionId id) {
  return fail(ErrorCode::kNotFound, fmt::format("there is no region {}", id));
}

bool dealt_out(const Placement& placement) { return placement.kind != Placement::Kind::kNode; }

}  // namespace

NodeId Region::home_of(BlockId block) const {
  DCHECK(contains(block), block, id);
  if (const NodeId recorded = homes.home_of(block); recorded != kNoNode) return recorded;
  const std::uint64_t index = block.value - first_block().value;
  switch (placement.kind) {
    case Placement::Kind::kFirstTouch:
      return kNoNode;
    case Placement::Kind::kNode:
      return spread.empty() ? NodeId{static_cast<std::uint16_t>(placement.node)} : spread.front();
    case Placement::Kind::kInterleave:
      return spread[index % spread.size()];
    case Placement::Kind::kBlocked:
      break;
  }
  // As gallocy::share: the first `rest` parts are one block longer.
  const std::uint64_t base = blocks() / spread.size(), rest = blocks() % spread.size();
  const std::uint64_t longer = rest * (base + 1);
  return spread[index < longer ? index / (base + 1) : rest + (index - longer) / base];
}

Result<Outcome> Machine::apply(LogIndex index, NodeId proposer, const Entry& entry) {
  skip(index);
  GALLOCY_TRY(validate(entry));
  GALLOCY_TRY(may_propose(proposer, entry));
  return std::visit([&](const auto& e) { return carry_out(proposer, e); }, entry);
}

void Machine::skip(LogIndex index) {
  CHECK(index.value == applied_.value + 1, index, applied_);
  applied_ = index;
}

// Keeps out what a node sent before it was declared dead. A cluster without members takes anybody's joining: the
// keeper writes down the first ones.
Result<> Machine::may_propose(NodeId proposer, const Entry& entry) const {
  if (is_member(proposer)) return {};
  const auto* joined = std::get_if<MemberJoined>(&entry);
  if (joined != nullptr && (joined->node == proposer || members().empty())) return {};
  return fail(ErrorCode::kNotPermitted, fmt::format("{} by node {}, which is not a member", kind_of(entry), proposer));
}

Result<Outcome> Machine::carry_out(NodeId, const MemberJoined& entry) {
  for (const auto& [node, member] : members_) {
    if (entry.newcomer == 0 || member.newcomer != entry.newcomer) continue;
    if (member.state != MemberState::kPresent)
      return fail(ErrorCode::kNotPermitted, fmt::format("node {} is no member any more", node));
    return Outcome{.epoch = epoch_, .changed = false, .node = node, .life = member.life};
  }
  const NodeId node = entry.node == kNoNode ? unused_number() : entry.node;
  if (node == kNoNode) return fail(ErrorCode::kOutOfMemory, fmt::format("{} nodes have joined already", kMaxNodes));
  const Member* former = member(node);
  const std::uint64_t life = std::max(entry.life, std::uint64_t{1});
  if (former != nullptr && former->life >= life) {
    if (former->state == MemberState::kPresent)
      return fail(ErrorCode::kExists, fmt::format("node {} is a member already", node));
    return fail(ErrorCode::kNotPermitted,
                fmt::format("node {} is no member any more: it would have to start again", node));
  }
  if (former != nullptr && former->on_disk != entry.on_disk)
    return fail(ErrorCode::kConflict,
                fmt::format("node {} has its log {}", node, former->on_disk ? "on disk" : "in memory"));
  if (entry.on_disk && !members_.empty() && !on_disk())
    return fail(ErrorCode::kConflict,
                "this cluster has its log in memory: start the node without --log-dir, or found the cluster with one");
  const bool restarted = was_member_since(entry.kept, node);
  using Kind = MembershipChange::Kind;
  if (is_member(node) && !restarted) change_membership(node, Kind::kGone);
  change_membership(node, restarted ? Kind::kRestarted : Kind::kJoined);
  forget_homes(node);
  members_.insert_or_assign(node,
                            Member{entry.address, MemberState::kPresent, epoch_, life, entry.newcomer, entry.on_disk});
  return Outcome{.epoch = epoch_, .node = node, .life = life};
}

// A number is not given to another node when its first one is gone: others would take the blocks that were lost with
// that one for blocks of the new one, which reads them as zero.
NodeId Machine::unused_number() const {
  const std::uint16_t next =
      members_.empty() ? std::uint16_t{0} : static_cast<std::uint16_t>(members_.rbegin()->first.value + 1);
  return next < kMaxNodes ? NodeId{next} : kNoNode;
}

void Machine::change_membership(NodeId node, MembershipChange::Kind kind) {
  if (leaver_ == node) leaver_ = kNoNode;
  if (settler_ == node) settler_ = kNoNode;
  if (kind != MembershipChange::Kind::kJoined) forget_missed(node);
  open_epoch(node, kind);
}

void Machine::open_epoch(NodeId node, MembershipChange::Kind kind) {
  ++epoch_.value;
  changes_.push_back({node, kind});
}

Result<Outcome> Machine::carry_out(NodeId, const MemberLeaves& entry) {
  if (!is_member(entry.node)) return fail(ErrorCode::kNotFound, fmt::format("node {} is not a member", entry.node));
  if (leaver_ == entry.node) return done(false);
  if (leaver_ != kNoNode) return fail(ErrorCode::kConflict, fmt::format("node {} is about to leave", leaver_));
  leaver_ = entry.node;
  if (settler_ == entry.node) settler_ = kNoNode;
  open_epoch(entry.node, MembershipChange::Kind::kLeaves);
  return done();
}

Result<Outcome> Machine::carry_out(NodeId, const MemberStays& entry) {
  if (leaver_ != entry.node)
    return fail(ErrorCode::kNotFound, fmt::format("node {} is not about to leave", entry.node));
  leaver_ = kNoNode;
  open_epoch(entry.node, MembershipChange::Kind::kStays);
  return done();
}

Epoch Machine::leaver_since() const {
  if (leaver_ == kNoNode) return Epoch{};
  const auto last = std::find_if(changes_.rbegin(), changes_.rend(), [this](const MembershipChange& change) {
    return change.node == leaver_ && change.kind == MembershipChange::Kind::kLeaves;
  });
  return Epoch{static_cast<std::uint32_t>(changes_.rend() - last)};
}

// Not while a member is about to leave: companies that have one more for it have no room for another.
Result<Outcome> Machine::carry_out(NodeId, const MemberSettles& entry) {
  using Kind = MembershipChange::Kind;
  if (!is_member(entry.node)) return fail(ErrorCode::kNotFound, fmt::format("node {} is not a member", entry.node));
  if (on_disk() && !member(entry.node)->on_disk)
    return fail(ErrorCode::kNotPermitted, fmt::format("node {} keeps no durable memory", entry.node));
  if (entry.step == SettleStep::kTakenIn) {
    if (settler_ == entry.node) return done(false);
    if (settler_ != kNoNode) return fail(ErrorCode::kConflict, fmt::format("node {} is settling", settler_));
    if (leaver_ != kNoNode) return fail(ErrorCode::kConflict, fmt::format("node {} is about to leave", leaver_));
    settler_ = entry.node;
    open_epoch(entry.node, Kind::kTakenIn);
    return done();
  }
  if (settler_ != entry.node) return fail(ErrorCode::kNotFound, fmt::format("node {} is not settling", entry.node));
  if (entry.epoch != epoch_ || entry.step != next_step())
    return fail(ErrorCode::kConflict, fmt::format("node {} has to look again in epoch {}", entry.node, epoch_));
  if (entry.step == SettleStep::kSettled) settler_ = kNoNode;
  open_epoch(entry.node, entry.step == SettleStep::kSettled ? Kind::kSettled : Kind::kTakesOver);
  return done();
}

SettleStep Machine::next_step() const {
  using Kind = MembershipChange::Kind;
  if (settler_ == kNoNode) return SettleStep::kTakenIn;
  const auto last = std::find_if(changes_.rbegin(), changes_.rend(), [this](const MembershipChange& change) {
    return change.node == settler_ && (change.kind == Kind::kTakenIn || change.kind == Kind::kTakesOver);
  });
  return last->kind == Kind::kTakenIn ? SettleStep::kTakesOver : SettleStep::kSettled;
}

bool Machine::is_unsettled(NodeId node) const {
  if (!is_member(node) || (on_disk() && !member(node)->on_disk)) return false;
  Epoch joined{};
  for (std::uint32_t i = 0; i < changes_.size(); ++i) {
    const auto [who, kind] = changes_[i];
    if (who != node) continue;
    if (kind == MembershipChange::Kind::kJoined) joined = Epoch{i + 1};
    if (kind == MembershipChange::Kind::kSettled) joined = Epoch{};
  }
  return joined != Epoch{} && std::ranges::any_of(regions_, [joined](const auto& region) {
           return region.second.durable_backups > 0 && region.second.founded < joined;
         });
}

Result<Outcome> Machine::carry_out(NodeId, const MemberLeft& entry) {
  if (is_member(entry.node) && entry.life != 0 && member(entry.node)->life != entry.life)
    return fail(ErrorCode::kNotFound, fmt::format("node {} has begun another life", entry.node));
  auto left = end_membership(entry.node, MemberState::kLeft);
  if (left) inherit_anchors(entry.node);
  return left;
}

// What it had in memory in an earlier life is gone.
void Machine::forget_homes(NodeId node) {
  for (auto& [id, region] : regions_) {
    std::vector<std::pair<BlockId, std::uint64_t>> runs;
    region.homes.for_each_run([&](BlockId first, std::uint64_t count, NodeId home) {
      if (home == node) runs.emplace_back(first, count);
    });
    for (const auto& [first, count] : runs) region.homes.assign(first, count, kNoNode);
  }
}

// Who left has given away what was in use; what nobody used is dealt out by the next member from now on.
void Machine::inherit_anchors(NodeId node) {
  const std::vector<NodeId> present = members();
  if (present.empty()) return;
  const auto next = std::ranges::upper_bound(present, node);
  const NodeId heir = next == present.end() ? present.front() : *next;
  for (auto& [id, region] : regions_) {
    if (region.spread.empty() && NodeId{static_cast<std::uint16_t>(region.placement.node)} == node) {
      region.spread = {heir};
    }
    std::ranges::replace(region.spread, node, heir);
  }
}

Result<Outcome> Machine::carry_out(NodeId, const MemberDied& entry) {
  if (is_member(entry.node) && member(entry.node)->life != entry.life)
    return fail(ErrorCode::kNotFound, fmt::format("node {} has begun another life", entry.node));
  return end_membership(entry.node, MemberState::kDied);
}

Result<Outcome> Machine::carry_out(NodeId proposer, const MemberMissed& entry) {
  if (!is_member(entry.node)) return fail(ErrorCode::kNotFound, fmt::format("node {} is not a member", entry.node));
  Member& member = members_[entry.node];
  if (member.life != entry.life)
    return fail(ErrorCode::kNotFound, fmt::format("node {} has begun another life", entry.node));
  if (proposer == entry.node)
    return fail(ErrorCode::kInvalidArgument, fmt::format("node {} cannot miss itself", proposer));
  const auto at = std::ranges::lower_bound(member.missed_by, proposer);
  if (at != member.missed_by.end() && *at == proposer) return done(false);
  member.missed_by.insert(at, proposer);
  ++missed_;
  const std::size_t others = members().size() - 1;
  if (member.missed_by.size() < others / 2 + 1) return done();
  auto died = end_membership(entry.node, MemberState::kDied);
  if (died) died->node = entry.node;
  return died;
}

std::optional<Life> Machine::suspect(NodeId spared) const {
  if (missed_ == 0) return std::nullopt;
  std::map<NodeId, std::size_t> misses;
  for (const auto& [node, member] : members_) {
    for (const NodeId by : member.missed_by) ++misses[by];
    if (!member.missed_by.empty()) misses.try_emplace(node, 0);
  }
  const auto rank = [&](const auto& entry) {
    return std::tuple(members_.at(entry.first).missed_by.size(), entry.second, entry.first != spared, entry.first);
  };
  const NodeId worst = std::ranges::max_element(misses, {}, rank)->first;
  return Life{worst, members_.at(worst).life};
}

// What it missed, and who missed it, is over.
void Machine::forget_missed(NodeId node) {
  missed_ -= members_[node].missed_by.size();
  members_[node].missed_by.clear();
  for (auto& [other, member] : members_) missed_ -= std::erase(member.missed_by, node);
}

Result<Outcome> Machine::end_membership(NodeId node, MemberState state) {
  if (!is_member(node)) return fail(ErrorCode::kNotFound, fmt::format("node {} is not a member", node));
  change_membership(node, MembershipChange::Kind::kGone);
  members_[node].state = state;
  members_[node].since = epoch_;
  return done();
}

Result<Outcome> Machine::carry_out(NodeId proposer, const MapRegion& entry) {
  if (const Region* existing = region_named(entry.name)) return find_region(*existing, entry);
  if (regions_.size() >= kMaxRegions)
    return fail(ErrorCode::kOutOfMemory,
                fmt::format("region '{}': there are {} regions already", entry.name, kMaxRegions));
  const NodeId on{static_cast<std::uint16_t>(entry.placement.node)};
  if (entry.placement.kind == Placement::Kind::kNode && !is_member(on))
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("region '{}' on node {}, which is not a member", entry.name, on));
  if (const std::size_t present = members().size(); entry.durable_backups >= present && entry.durable_backups > 0)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("region '{}': durable with {} backups needs {} nodes, the cluster has {}", entry.name,
                            entry.durable_backups, entry.durable_backups + 1, present));
  const auto address = space_.allocate(entry.bytes);
  if (!address)
    return fail(ErrorCode::kOutOfMemory,
                fmt::format("region '{}' of {} bytes: window exhausted ({} bytes free, in pieces)", entry.name,
                            entry.bytes, space_.free_bytes()));
  Region region{.id = next_region_,
                .name = entry.name,
                .address = *address,
                .bytes = entry.bytes,
                .placement = entry.placement,
                .creator = proposer,
                .durable_backups = entry.durable_backups,
                .founded = epoch_};
  if (dealt_out(entry.placement)) region.spread = members();
  // Not to whom is about to go, or may be dead already.
  const auto may_go = [this](NodeId node) { return node == leaver_ || !members_[node].missed_by.empty(); };
  if (!std::ranges::all_of(region.spread, may_go)) std::erase_if(region.spread, may_go);
  next_region_.value += shard_.of;
  const Outcome outcome{.epoch = epoch_, .region = region.id, .address = region.address};
  region_starts_.emplace(region.first_block(), region.id);
  region_names_.emplace(region.name, region.id);
  regions_.emplace(region.id, std::move(region));
  return outcome;
}

Result<Outcome> Machine::find_region(const Region& region, const MapRegion& entry) const {
  if (region.bytes != entry.bytes)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("region '{}' has {} bytes, not {}", entry.name, region.bytes, entry.bytes));
  if (!equal(region.placement, entry.placement))
    return fail(ErrorCode::kInvalidArgument, fmt::format("region '{}' has another placement", entry.name));
  if (region.durable_backups != entry.durable_backups)
    return fail(ErrorCode::kInvalidArgument, fmt::format("region '{}' is durable with {} backups, not {}", entry.name,
                                                         region.durable_backups, entry.durable_backups));
  return Outcome{.epoch = epoch_, .region = region.id, .address = region.address, .changed = false};
}

Result<Outcome> Machine::carry_out(NodeId, const UnmapRegion& entry) {
  const auto found = regions_.find(entry.region);
  if (found == regions_.end()) return no_region(entry.region);
  const Region& region = found->second;
  if (region.durable_backups > 0)
    return fail(ErrorCode::kUnsupported, fmt::format("region '{}' is durable: it stays", region.name));
  space_.release(region.address, region.bytes);
  region_names_.erase(region.name);
  region_starts_.erase(region.first_block());
  regions_.erase(found);
  return done();
}

Result<Outcome> Machine::carry_out(NodeId, const BlockHomes& entry) {
  const auto found = regions_.find(entry.region);
  if (found == regions_.end()) return no_region(entry.region);
  Region& region = found->second;
  for (const HomeRun& run : entry.runs) {
    if (!region.contains(run.first) || !region.contains(BlockId{run.first.value + run.count - 1}))
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{} blocks from {} on are not all in region '{}'", run.count, run.first, region.name));
    if (!is_member(run.home))
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("home of blocks on node {}, which is not a member", run.home));
  }
  for (const HomeRun& run : entry.runs) region.homes.assign(run.first, run.count, run.home);
  return done();
}

Result<Outcome> Machine::carry_out(NodeId proposer, const BindName& entry) {
  if (const Binding* bound = binding(entry.name)) {
    if (bound->value == entry.value) return done(false);
    return fail(ErrorCode::kExists, fmt::format("the name '{}' is bound by node {}", entry.name, bound->owner));
  }
  if (names_.size() >= kMaxNames)
    return fail(ErrorCode::kOutOfMemory, fmt::format("the name '{}': {} are bound already", entry.name, kMaxNames));
  names_.emplace(entry.name, Binding{entry.value, proposer});
  return done();
}

Result<Outcome> Machine::carry_out(NodeId, const UnbindName& entry) {
  if (names_.erase(entry.name) == 0)
    return fail(ErrorCode::kNotFound, fmt::format("the name '{}' is not bound", entry.name));
  return done();
}

bool Machine::is_member(NodeId node) const {
  const Member* found = member(node);
  return found != nullptr && found->state == MemberState::kPresent;
}

Standing Machine::standing(const Life& life) const {
  const Member* found = member(life.node);
  if (found == nullptr || found->life < life.life) return Standing::kUnknown;
  if (found->life > life.life || found->state == MemberState::kDied) return Standing::kOver;
  return found->state == MemberState::kLeft ? Standing::kLeft : Standing::kPresent;
}

const Member* Machine::member(NodeId node) const {
  const auto found = members_.find(node);
  return found == members_.end() ? nullptr : &found->second;
}

bool Machine::was_member_since(Epoch epoch, NodeId node) const {
  bool member = false;
  for (std::uint32_t i = 0; i < changes_.size(); ++i) {
    const auto [who, kind] = changes_[i];
    if (who != node || !changes_[i].concerns_members()) continue;
    if (i >= epoch.value && kind != MembershipChange::Kind::kRestarted) return false;
    member = kind != MembershipChange::Kind::kGone;
  }
  return member && epoch != Epoch{};
}

std::vector<NodeId> Machine::members() const {
  std::vector<NodeId> present;
  for (const auto& [node, member] : members_) {
    if (member.state == MemberState::kPresent) present.push_back(node);
  }
  return present;
}

const Region* Machine::region(RegionId id) const {
  const auto found = regions_.find(id);
  return found == regions_.end() ? nullptr : &found->second;
}

const Region* Machine::region_named(std::string_view name) const {
  const auto found = region_names_.find(name);
  return found == region_names_.end() ? nullptr : region(found->second);
}

const Region* Machine::region_at(BlockId block) const {
  const auto next = region_starts_.upper_bound(block);
  if (next == region_starts_.begin()) return nullptr;
  const Region* found = region(std::prev(next)->second);
  return found->contains(block) ? found : nullptr;
}

NodeId Machine::home_of(BlockId block) const {
  const Region* found = region_at(block);
  return found == nullptr ? kNoNode : found->home_of(block);
}

const Binding* Machine::binding(std::string_view name) const {
  const auto found = names_.find(name);
  return found == names_.end() ? nullptr : &found->second;
}

std::optional<Life> buried(const Entry& entry, const Outcome& outcome) {
  if (const auto* died = std::get_if<MemberDied>(&entry)) return Life{died->node, died->life};
  const auto* missed = std::get_if<MemberMissed>(&entry);
  return missed != nullptr && outcome.node == missed->node ? std::optional(Life{missed->node, missed->life})
                                                           : std::nullopt;
}

}  // namespace gallocy::vmm
