// Machine: the virtual memory manager as a state machine. Members, regions, homes of blocks and names are what the
// entries of the log, applied in order, have made of them; nothing else changes them. Every node has one.
//
// Threads: none; pure. The owner applies entries on one thread and decides who may read meanwhile.
//
// Invariants
// 1. apply() is a function of the state and its arguments: replicas that applied the same entries have equal digests.
// 2. apply() is total: an entry that cannot be carried out gives a reason and changes nothing.
// 3. Regions are disjoint, lie in the window (in this machine's shard of it) at multiples of kRegionAlignBytes and have
//    distinct names; ids only grow.
// 4. The epoch grows by one with every change of membership and with nothing else. A node that joins in a later life
//    while it is a member makes two: the earlier life has died; one, if it kept what it had.
// 5. Homes that were recorded lie within their region. They may name a node that is no member any more: where its
//    blocks go is decided by a later BlockHomes entry, not by its death. Of a node in a later life they are none.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "vmm/entry.h"
#include "vmm/home_map.h"
#include "vmm/membership.h"
#include "vmm/record.h"
#include "vmm/shard.h"
#include "vmm/window_space.h"

namespace gallocy::vmm {

struct Region {
  RegionId id{};
  std::string name;
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;  // as asked for; blocks() has it rounded up
  Placement placement{};
  NodeId creator{};
  std::uint8_t durable_backups = 0;
  Epoch founded{};  // in which it was mapped
  // But for kNode: the members at creation, among whom the blocks are dealt out at first. Instead of those who left in
  // order since there are others, also for kNode.
  std::vector<NodeId> spread;
  HomeMap homes;  // blocks whose home differs from what the placement says, or that it leaves open

  BlockId first_block() const { return block_of(page_of(address)); }
  std::uint64_t blocks() const { return (bytes + kBlockBytes - 1) / kBlockBytes; }
  bool contains(BlockId block) const { return block.value - first_block().value < blocks(); }
  // The home that the log knows; kNoNode: nobody's yet (first touch). `block` is one of the region's.
  NodeId home_of(BlockId block) const;
};

// What opened an epoch.
struct MembershipChange {
  enum class Kind : std::uint8_t {
    kJoined,
    kGone,       // left or died
    kLeaves,     // is about to
    kStays,      // is not, after all
    kRestarted,  // is a member in another life, with what it had of durable regions
    kTakenIn,    // these three: SettleStep
    kTakesOver,
    kSettled,
  };
  NodeId node{};
  Kind kind = Kind::kJoined;

  // Who is a member, or in which life, is another now.
  bool concerns_members() const { return kind == Kind::kJoined || kind == Kind::kGone || kind == Kind::kRestarted; }
};

struct Binding {
  std::uint64_t value = 0;
  NodeId owner{};  // who bound it
};

class Machine {
 public:
  explicit Machine(const Shard& shard = {})
      : shard_(shard), next_region_(shard.first_region()), space_(shard.window()) {}

  // Carries out the entry at `index`, which follows that of the call before. `proposer` must be a member, or propose to
  // become one; kNotPermitted otherwise.
  Result<Outcome> apply(LogIndex index, NodeId proposer, const Entry& entry);

  // Passes over `index`, whose entry repeats an earlier one.
  void skip(LogIndex index);

  LogIndex applied() const { return applied_; }
  Epoch epoch() const { return epoch_; }

  bool is_member(NodeId node) const;
  const Member* member(NodeId node) const;  // past members included; null: never was
  Standing standing(const Life& life) const;
  const std::map<NodeId, Member>& all_members() const { return members_; }  // past ones included
  // It was one in this epoch, and ever after, in whatever lives. Of epoch 0 nobody was.
  bool was_member_since(Epoch epoch, NodeId node) const;
  std::vector<NodeId> members() const;  // present ones, ascending
  // The log of this cluster is on disk: at those of its members that have one, of which the first was one.
  bool on_disk() const { return !members_.empty() && members_.begin()->second.on_disk; }
  NodeId leaver() const { return leaver_; }    // the member that is about to leave; kNoNode: none is
  Epoch leaver_since() const;                  // the epoch that this opened; 0: none is
  NodeId settler() const { return settler_; }  // the member that has begun to settle; kNoNode: none has
  SettleStep next_step() const;                // of the settler; kTakenIn: nobody is settling
  // It keeps durable blocks, joined after regions of such were mapped, and has not settled since.
  bool is_unsettled(NodeId node) const;
  // All so far; the first opened epoch 1. Who keeps a durable block follows from them (durable/companies.h).
  const std::vector<MembershipChange>& membership_changes() const { return changes_; }
  const std::map<RegionId, Region>& regions() const { return regions_; }
  const Region* region(RegionId id) const;
  const Region* region_named(std::string_view name) const;
  const Region* region_at(BlockId block) const;
  // Members that miss each other cannot both stay. If there are some, the one that should go: whom most of the others
  // miss, and who misses most; rather not `spared`.
  std::optional<Life> suspect(NodeId spared) const;
  NodeId home_of(BlockId block) const;  // kNoNode: in no region, or nobody's yet
  const Binding* binding(std::string_view name) const;

  // Of the facts, not of the index: a rejected entry leaves it as it was.
  std::uint64_t digest() const;

  Bytes snapshot() const;
  // kProtocol for anything that is not a snapshot of a machine that satisfies the invariants.
  static Result<Machine> restore(std::span<const std::byte> snapshot, const Shard& shard = {});

  // The invariants above, as far as one state shows them. O(state).
  Result<> consistent() const;
  void check_invariants() const;

 private:
  Result<Outcome> carry_out(NodeId proposer, const MemberJoined& entry);
  Result<Outcome> carry_out(NodeId proposer, const MemberLeaves& entry);
  Result<Outcome> carry_out(NodeId proposer, const MemberStays& entry);
  Result<Outcome> carry_out(NodeId proposer, const MemberLeft& entry);
  Result<Outcome> carry_out(NodeId proposer, const MemberSettles& entry);
  Result<Outcome> carry_out(NodeId proposer, const MemberDied& entry);
  Result<Outcome> carry_out(NodeId proposer, const MemberMissed& entry);
  Result<Outcome> carry_out(NodeId proposer, const MapRegion& entry);
  Result<Outcome> carry_out(NodeId proposer, const UnmapRegion& entry);
  Result<Outcome> carry_out(NodeId proposer, const BlockHomes& entry);
  Result<Outcome> carry_out(NodeId proposer, const BindName& entry);
  Result<Outcome> carry_out(NodeId proposer, const UnbindName& entry);
  Result<> may_propose(NodeId proposer, const Entry& entry) const;
  void change_membership(NodeId node, MembershipChange::Kind kind);
  void open_epoch(NodeId node, MembershipChange::Kind kind);
  void forget_missed(NodeId node);
  void inherit_anchors(NodeId node);
  void forget_homes(NodeId node);
  Result<Outcome> end_membership(NodeId node, MemberState state);
  NodeId unused_number() const;
  Result<Outcome> find_region(const Region& region, const MapRegion& entry) const;
  Result<Outcome> done(bool changed = true) const { return Outcome{.epoch = epoch_, .changed = changed}; }
  bool insert(Region region);

  Result<> check_members() const;
  Result<> check_missed() const;
  void put_facts(wire::ByteWriter& writer) const;
  Result<> get_facts(wire::ByteReader& reader);

  Shard shard_;
  LogIndex applied_{};
  Epoch epoch_{};  // 0 before the first member
  RegionId next_region_;
  std::map<NodeId, Member> members_;
  std::size_t missed_ = 0;  // derived: all missed_by together
  std::vector<MembershipChange> changes_;
  NodeId leaver_ = kNoNode, settler_ = kNoNode;
  std::map<RegionId, Region> regions_;
  std::map<std::string, Binding, std::less<>> names_;
  // Derived from regions_.
  std::map<std::string, RegionId, std::less<>> region_names_;
  std::map<BlockId, RegionId> region_starts_;
  WindowSpace space_;
};

// Who has died by an entry that was accepted.
std::optional<Life> buried(const Entry& entry, const Outcome& outcome);

}  // namespace gallocy::vmm
