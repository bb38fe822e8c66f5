// Machine's encoding as bytes, and the checks on it. A snapshot is
//
//   applied u64 | epoch u32 | next region u32 | members | changes of membership | leaver u16 | regions | names
//
// each list as count u32 and its items in ascending order (changes: in that of their epochs), with the integers and
// texts of wire/bytes.h.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <set>

#include "base/check.h"
#include "vmm/machine.h"

namespace gallocy::vmm {
namespace {

using wire::ByteReader;
using wire::ByteWriter;

tl::unexpected<Error> damaged(std::string_view what) {
  return fail(ErrorCode::kProtocol, fmt::format("a snapshot of the VMM with {}", what));
}

template <typename Container>
void put_count(ByteWriter& writer, const Container& items) {
  writer.put(static_cast<std::uint32_t>(items.size()));
}

void put_region(ByteWriter& w, const Region& region) {
  w.put(region.id), w.put_text(region.name), w.put(region.address), w.put(region.bytes);
  put(w, region.placement), w.put(region.creator), w.put(region.durable_backups), w.put(region.founded);
  put_count(w, region.spread);
  for (NodeId node : region.spread) w.put(node);
  w.put(static_cast<std::uint32_t>(region.homes.runs()));
  region.homes.for_each_run([&](BlockId first, std::uint64_t count, NodeId home) {
    w.put(first), w.put(static_cast<std::uint32_t>(count)), w.put(home);
  });
}

// Fields only; whether they make sense together is Machine::consistent's business, but nothing here may overflow.
Region get_region(ByteReader& r) {
  Region region{.id = r.get<RegionId>(),
                .name = r.get_text(),
                .address = r.get<std::uint64_t>(),
                .bytes = r.get<std::uint64_t>(),
                .placement = get_placement(r),
                .creator = r.get<NodeId>(),
                .durable_backups = r.get<std::uint8_t>(),
                .founded = r.get<Epoch>()};
  for (auto count = r.get<std::uint32_t>(); count > 0 && r.ok(); --count) region.spread.push_back(r.get<NodeId>());
  for (auto count = r.get<std::uint32_t>(); count > 0 && r.ok(); --count) {
    const auto first = r.get<BlockId>();
    const auto blocks = r.get<std::uint32_t>();
    region.homes.assign(BlockId{first.value % (kWindowBytes / kBlockBytes)}, blocks, r.get<NodeId>());
  }
  return region;
}

Result<> check_region(const Region& region) {
  if (!valid_text(region.name) || !valid(region.placement)) return damaged("a region of no name or placement");
  if (region.bytes == 0 || region.bytes > kMaxRegionBytes) return damaged("a region of a wrong size");
  if (region.creator.value >= kMaxNodes) return damaged("a region made by nobody");
  if (region.durable_backups > kMaxDurableBackups ||
      (region.durable_backups > 0 && !equal(region.placement, Placement{})))
    return damaged("a region that cannot be durable");
  if (region.spread.empty() && region.placement.kind != Placement::Kind::kNode)
    return damaged("a region dealt out among nobody");
  if (std::ranges::any_of(region.spread, [](NodeId node) { return node.value >= kMaxNodes; }))
    return damaged("a region dealt out among nodes that cannot be");
  bool inside = region.homes.consistent();
  region.homes.for_each_run([&](BlockId first, std::uint64_t count, NodeId home) {
    inside &= region.contains(first) && region.contains(BlockId{first.value + count - 1}) && home.value < kMaxNodes;
  });
  if (!inside) return damaged("homes outside their region");
  return {};
}

// Who is on the way out or in.
struct Underway {
  NodeId leaver = kNoNode, settler = kNoNode;
  bool takes_over = false;  // the settler
};

// And makes it.
bool makes_a_difference(const MembershipChange& change, std::set<NodeId>& present, Underway& underway) {
  const auto [node, kind] = change;
  auto& [leaver, settler, takes_over] = underway;
  if (settler == node && (change.concerns_members() || kind == MembershipChange::Kind::kLeaves)) settler = kNoNode;
  switch (kind) {
    case MembershipChange::Kind::kJoined:
      return present.insert(node).second;
    case MembershipChange::Kind::kGone:
      if (leaver == node) leaver = kNoNode;
      return present.erase(node) > 0;
    case MembershipChange::Kind::kLeaves:
      return std::exchange(leaver, node) == kNoNode && present.contains(node);
    case MembershipChange::Kind::kStays:
      return std::exchange(leaver, kNoNode) == node;
    case MembershipChange::Kind::kRestarted:
      if (leaver == node) leaver = kNoNode;
      return present.contains(node);
    case MembershipChange::Kind::kTakenIn:
      takes_over = false;
      return std::exchange(settler, node) == kNoNode && leaver == kNoNode && present.contains(node);
    case MembershipChange::Kind::kTakesOver:
      return settler == node && !std::exchange(takes_over, true);
    case MembershipChange::Kind::kSettled:
      return std::exchange(settler, kNoNode) == node && takes_over;
  }
  return false;
}

}  // namespace

void Machine::put_facts(ByteWriter& w) const {
  w.put(epoch_), w.put(next_region_);
  put_count(w, members_);
  for (const auto& [node, member] : members_) {
    w.put(node), w.put_text(member.address), w.put(member.state), w.put(member.since), w.put(member.life),
        w.put(member.newcomer), w.put(static_cast<std::uint8_t>(member.on_disk));
    put_count(w, member.missed_by);
    for (const NodeId by : member.missed_by) w.put(by);
  }
  put_count(w, changes_);
  for (const MembershipChange& change : changes_) w.put(change.node), w.put(change.kind);
  w.put(leaver_), w.put(settler_);
  put_count(w, regions_);
  for (const auto& [id, region] : regions_) put_region(w, region);
  put_count(w, names_);
  for (const auto& [name, binding] : names_) w.put_text(name), w.put(binding.value), w.put(binding.owner);
}

std::uint64_t Machine::digest() const {
  Bytes bytes;
  ByteWriter writer(bytes);
  put_facts(writer);
  return XXH3_64bits(bytes.data(), bytes.size());
}

Bytes Machine::snapshot() const {
  Bytes bytes;
  ByteWriter writer(bytes);
  writer.put(applied_);
  put_facts(writer);
  return bytes;
}

Result<Machine> Machine::restore(std::span<const std::byte> snapshot, const Shard& shard) {
  ByteReader reader(snapshot);
  Machine machine(shard);
  machine.applied_ = reader.get<LogIndex>();
  GALLOCY_TRY(machine.get_facts(reader));
  if (!reader.done()) return damaged("bytes missing or left over");
  GALLOCY_TRY(machine.consistent());
  const Bytes again = machine.snapshot();
  if (!std::equal(again.begin(), again.end(), snapshot.begin(), snapshot.end())) return damaged("another encoding");
  return machine;
}

Result<> Machine::get_facts(ByteReader& r) {
  epoch_ = r.get<Epoch>();
  next_region_ = r.get<RegionId>();
  for (auto count = r.get<std::uint32_t>(); count > 0 && r.ok(); --count) {
    const auto node = r.get<NodeId>();
    Member member{.address = r.get_text(),
                  .state = r.get<MemberState>(),
                  .since = r.get<Epoch>(),
                  .life = r.get<std::uint64_t>(),
                  .newcomer = r.get<std::uint64_t>(),
                  .on_disk = r.get_flag(),
                  .missed_by = {}};
    for (auto by = r.get<std::uint32_t>(); by > 0 && r.ok(); --by) member.missed_by.push_back(r.get<NodeId>());
    missed_ += member.missed_by.size();
    if (!members_.emplace(node, std::move(member)).second) return damaged("a member twice");
  }
  for (auto count = r.get<std::uint32_t>(); count > 0 && r.ok(); --count) {
    const auto node = r.get<NodeId>();
    changes_.push_back({node, r.get<MembershipChange::Kind>()});
  }
  leaver_ = r.get<NodeId>();
  settler_ = r.get<NodeId>();
  for (auto count = r.get<std::uint32_t>(); count > 0 && r.ok(); --count) {
    Region region = get_region(r);
    if (!r.ok()) break;
    GALLOCY_TRY(check_region(region));
    if (!insert(std::move(region))) return damaged("a region that is in another's place");
  }
  for (auto count = r.get<std::uint32_t>(); count > 0 && r.ok(); --count) {
    std::string name = r.get_text();
    if (!names_.emplace(std::move(name), Binding{r.get<std::uint64_t>(), r.get<NodeId>()}).second)
      return damaged("a name twice");
  }
  return {};
}

bool Machine::insert(Region region) {
  if (regions_.contains(region.id) || region_names_.contains(region.name)) return false;
  if (!space_.take(region.address, region.bytes)) return false;
  region_names_.emplace(region.name, region.id);
  region_starts_.emplace(region.first_block(), region.id);
  regions_.emplace(region.id, std::move(region));
  return true;
}

// Each change makes a difference, and the last of each node is how it is now.
Result<> Machine::check_members() const {
  if (changes_.size() != epoch_.value) return damaged("epochs that nothing opened");
  std::map<NodeId, Epoch> since;
  std::set<NodeId> present;
  Underway underway;
  for (std::uint32_t i = 0; i < changes_.size(); ++i) {
    if (!makes_a_difference(changes_[i], present, underway)) return damaged("an epoch that changed nothing");
    if (changes_[i].concerns_members()) since[changes_[i].node] = Epoch{i + 1};
  }
  if (leaver_ != underway.leaver) return damaged("another member that is about to leave");
  if (settler_ != underway.settler) return damaged("another member that is settling");
  if (since.size() != members_.size()) return damaged("members that never joined");
  for (const auto& [node, member] : members_) {
    if (node.value >= kMaxNodes || !valid_text(member.address) || member.state > MemberState::kDied)
      return damaged("a member that cannot be");
    if (member.life == 0 || member.life > kMaxLife) return damaged("a member without a life");
    if (!since.contains(node) || member.since != since.at(node)) return damaged("a member from another epoch");
    if ((member.state == MemberState::kPresent) != present.contains(node)) return damaged("a member that has left");
  }
  return {};
}

Result<> Machine::check_missed() const {
  for (const auto& [node, member] : members_) {
    const std::vector<NodeId>& by = member.missed_by;
    if (!by.empty() && member.state != MemberState::kPresent) return damaged("a member that is gone and missed");
    const auto cannot = [&, node = node](NodeId other) { return other == node || !is_member(other); };
    if (std::ranges::any_of(by, cannot) || std::ranges::adjacent_find(by, std::ranges::greater_equal{}) != by.end())
      return damaged("a member that is missed by strangers");
  }
  return {};
}

Result<> Machine::consistent() const {
  GALLOCY_TRY(check_members());
  GALLOCY_TRY(check_missed());
  if (regions_.size() > kMaxRegions || names_.size() > kMaxNames) return damaged("too many regions or names");
  std::uint64_t taken = 0;
  const auto [base, bytes] = shard_.window();
  std::uint64_t end = base;
  for (const auto& [first, id] : region_starts_) {
    const Region* found = region(id);
    if (found == nullptr || found->first_block() != first || found->address < end)
      return damaged("overlapping regions");
    if (!shard_.has(id) || id >= next_region_ || region_named(found->name) != found)
      return damaged("a region of a wrong id");
    GALLOCY_TRY(check_region(*found));
    if (found->founded.value == 0 || found->founded > epoch_) return damaged("a region from a later epoch");
    taken += WindowSpace::span_of(found->bytes);
    end = found->address + WindowSpace::span_of(found->bytes);
  }
  if (!shard_.has(next_region_) || end > base + bytes || taken + space_.free_bytes() != bytes)
    return damaged("lost addresses");
  if (region_starts_.size() != regions_.size() || region_names_.size() != regions_.size())
    return damaged("lost regions");
  for (const auto& [name, binding] : names_) {
    if (!valid_text(name) || binding.owner.value >= kMaxNodes) return damaged("a name that cannot be");
  }
  return {};
}

void Machine::check_invariants() const {
  const auto result = consistent();
  CHECK(result.has_value(), result.error().message);
}

}  // namespace gallocy::vmm
