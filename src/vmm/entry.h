// What can be written into the VMM log. Every fact about the cluster that its nodes must agree on is one of these
// entries; page data and page faults never are.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "gallocy/node.h"

namespace gallocy::vmm {

inline constexpr std::size_t kMaxTextBytes = 255;  // names and addresses: 1 … 255 bytes
inline constexpr std::uint64_t kMaxRegionBytes = std::uint64_t{8} << 40;
inline constexpr std::uint64_t kRegionAlignBytes = 2 << 20;  // regions begin at a multiple: huge-page frames fit
inline constexpr std::size_t kMaxRegions = 65'536;           // a node keeps two mappings and a memfd for each
inline constexpr std::size_t kMaxNames = 65'536;             // keeps a snapshot below 20 MiB
// A server's name has 48 bits for its life, and a life has room for 2^20 requests among the node's 2^64.
inline constexpr std::uint64_t kMaxLife = (std::uint64_t{1} << 42) - 1;
inline constexpr std::size_t kMaxHomeRuns = 1'000;  // of one entry: 14 bytes each, within one frame

// A node is a member from now on. Opens an epoch. If it is one already, in an earlier life, that one has died; or, if
// it kept what it had of durable regions, it goes on in another.
struct MemberJoined {
  NodeId node{};               // kNoNode: the lowest number that nobody had
  std::string address;         // where its peers reach it, as text
  std::uint64_t life = 1;      // grows each time that the node starts; 0 of a node without a number, and of no other: a
                               // late repetition would begin one more
  std::uint64_t newcomer = 0;  // not 0: what it calls itself until it has a number; who asks twice gets one
  Epoch kept{};                // up to which it has on disk what it had of durable regions; 0: nothing
  bool on_disk = false;        // its log is on disk; of all its lives, or of none
  bool operator==(const MemberJoined&) const = default;
};

// A member is about to leave: it shall be given nothing more, and others take over what it keeps. Opens an epoch, in
// which it is a member yet. One at a time, so that none gives what it has to another that is leaving, too.
struct MemberLeaves {
  NodeId node{};
  bool operator==(const MemberLeaves&) const = default;
};

// It could not, and stays. Opens an epoch.
struct MemberStays {
  NodeId node{};
  bool operator==(const MemberStays&) const = default;
};

// A member said goodbye. Opens an epoch.
struct MemberLeft {
  NodeId node{};
  std::uint64_t life = 0;  // 0: the present one
  bool operator==(const MemberLeft&) const = default;
};

// A member is declared dead. Opens an epoch. In this life: a late repetition must not bury the next one.
struct MemberDied {
  NodeId node{};
  std::uint64_t life = 1;
  bool operator==(const MemberDied&) const = default;
};

// The proposer has lost its connection to a member, in this life. A member that most of the others miss is dead, which
// opens an epoch. So a node whose own line is bad cannot have the others declared dead, one after the other.
struct MemberMissed {
  NodeId node{};
  std::uint64_t life = 1;
  bool operator==(const MemberMissed&) const = default;
};

// Gives the region of that name an id and an address, or finds the one that exists.
struct MapRegion {
  std::string name;
  std::uint64_t bytes = 0;  // 1 … kMaxRegionBytes
  Placement placement{};
  std::uint8_t durable_backups = 0;  // 0 … kMaxDurableBackups
  bool operator==(const MapRegion& other) const;
};

// Frees the id's address range for later regions; the id is not used again.
struct UnmapRegion {
  RegionId region{};
  bool operator==(const UnmapRegion&) const = default;
};

// `count` blocks from `first` on have their home on one node.
struct HomeRun {
  BlockId first{};
  std::uint32_t count = 0;
  NodeId home{};
  bool operator==(const HomeRun&) const = default;
};

// Overrides what the region's placement says of these blocks. Runs are carried out in order.
struct BlockHomes {
  RegionId region{};
  std::vector<HomeRun> runs;  // 1 … kMaxHomeRuns
  bool operator==(const BlockHomes&) const = default;
};

// The directory of services: a name stands for a number that the services agree on (an address, a port, an id).
struct BindName {
  std::string name;
  std::uint64_t value = 0;
  bool operator==(const BindName&) const = default;
};

struct UnbindName {
  std::string name;
  bool operator==(const UnbindName&) const = default;
};

// By which a member takes over its share of the durable blocks that there are. One member at a time.
enum class SettleStep : std::uint8_t { kTakenIn = 1, kTakesOver, kSettled };  // durable/companies.h says what they do

// A step of it, in this order. Opens an epoch; all but the first only the one right after `epoch`, in which the
// proposer has found that everything is where it should be.
struct MemberSettles {
  NodeId node{};
  SettleStep step = SettleStep::kTakenIn;
  Epoch epoch{};
  bool operator==(const MemberSettles&) const = default;
};

// The position in this list is the tag on the wire: append only.
using Entry = std::variant<MemberJoined, MemberLeft, MemberDied, MapRegion, UnmapRegion, BlockHomes, BindName,
                           UnbindName, MemberLeaves, MemberStays, MemberMissed, MemberSettles>;

std::string_view kind_of(const Entry& entry);  // "member-joined", …

bool equal(const Placement& a, const Placement& b);

inline bool MapRegion::operator==(const MapRegion& other) const {
  return name == other.name && bytes == other.bytes && equal(placement, other.placement) &&
         durable_backups == other.durable_backups;
}

// What the proposer learns of an entry that was accepted.
struct Outcome {
  Epoch epoch{};              // after the entry
  RegionId region{};          // MapRegion: of the region
  std::uint64_t address = 0;  // MapRegion: where it begins
  bool changed = true;        // false: things were already so (the same region or name existed)
  NodeId node = kNoNode;      // MemberJoined: its number and its life. MemberMissed: the node, if it died by it
  std::uint64_t life = 0;
  bool operator==(const Outcome&) const = default;
};

}  // namespace gallocy::vmm
