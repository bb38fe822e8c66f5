// The messages of the VMM log. A record (one proposed entry with its proposer) is of variable length; its encoding is
// in vmm/record.h. docs/protocol.md has the table of who sends which to whom, and when.
//
// The types are those of the first shard's log. Of shard i they are 0x10 * i higher, and so are those of raft.h.
#pragma once

#include <cstdint>

#include "wire/frame.h"

namespace gallocy::wire {

inline constexpr MessageType kVmmSubscribe{0x300};  // VmmSubscribe
inline constexpr MessageType kVmmPropose{0x301};    // VmmPropose, then one record
inline constexpr MessageType kVmmAppend{0x302};     // VmmAppend, then `count` times (32-bit length, record)
inline constexpr MessageType kVmmSnapshot{0x303};   // VmmSnapshot, then a chunk of the snapshot
inline constexpr MessageType kVmmAdmit{0x304};      // VmmAdmit, then the newcomer's address (the rest of the body)
inline constexpr MessageType kVmmAdmitted{0x305};   // VmmAdmitted, then `count` times a VmmPeer and its address
inline constexpr MessageType kVmmRefused{0x306};    // VmmRefused, then the reason as text (the rest of the body)
inline constexpr MessageType kVmmCluster{0x307};    // VmmCluster, then the body of VmmAdmit

// Not of the log but about it: a region may be used anywhere once every node has it.
inline constexpr MessageType kRegionHere{0x380};        // node -> keeper: RegionNews, this node has the region
inline constexpr MessageType kRegionEverywhere{0x381};  // keeper -> all: RegionNews, all live nodes have it

// vmm/shard.h
inline constexpr std::uint32_t kMaxShards = 8;
inline constexpr std::uint16_t kTypesOfShard = 0x10;

constexpr MessageType type_in_shard(MessageType of_first, std::uint32_t shard) {
  return static_cast<MessageType>(static_cast<std::uint16_t>(of_first) + kTypesOfShard * shard);
}
constexpr std::uint32_t shard_of(MessageType type) {
  return static_cast<std::uint16_t>(type) / kTypesOfShard % kTypesOfShard;
}
constexpr MessageType type_in_first(MessageType type) {
  return static_cast<MessageType>(static_cast<std::uint16_t>(type) - kTypesOfShard * shard_of(type));
}

struct RegionNews {
  std::uint32_t region = 0;  // RegionId
  std::uint32_t reserved = 0;
};
static_assert(sizeof(RegionNews) == 8);

struct VmmSubscribe {
  std::uint64_t applied = 0;  // LogIndex of the last entry that the sender has; 0: none
};
static_assert(sizeof(VmmSubscribe) == 8);

struct VmmPropose {
  std::uint64_t reserved = 0;
};
static_assert(sizeof(VmmPropose) == 8);

struct VmmAdmit {
  std::uint64_t newcomer = 0;  // 64 bits by chance, not 0: this process, however often it asks, and whom
  std::uint64_t life = 0;
  std::uint16_t node = kNoNode.value;  // the number it had in an earlier life, and wants again; kNoNode: a new one
  std::uint16_t on_disk = 0;           // 1: its log is
  std::uint32_t kept = 0;              // Epoch: up to which it has on disk what it had of durable regions
};
static_assert(sizeof(VmmAdmit) == 24);

struct VmmAdmitted {
  std::uint64_t newcomer = 0;  // whom this is for
  std::uint64_t life = 0;      // its own, with its number
  std::uint16_t node = 0;
  std::uint16_t count = 0;  // members in this message
  std::uint32_t first = 0;  // how many of them came in messages before
  std::uint32_t total = 0;  // members, but itself
  std::uint32_t epoch = 0;
  std::uint64_t cluster = 0;  // whose log it is, if it is on disk; 0: it is in memory
  std::uint32_t shards = 1;   // of the address space
  std::uint32_t reserved = 0;
};
static_assert(sizeof(VmmAdmitted) == 48);

struct VmmPeer {
  std::uint64_t life = 0;
  std::uint16_t node = 0;
  std::uint16_t address_bytes = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(VmmPeer) == 16);

struct VmmRefused {
  std::uint64_t newcomer = 0;
  std::uint32_t code = 0;  // ErrorCode
  std::uint32_t reserved = 0;
};
static_assert(sizeof(VmmRefused) == 16);

// The first that a node with a log on disk says to each other one. The body of VmmAdmit follows: in which life it is.
struct VmmCluster {
  std::uint64_t cluster = 0;  // whose log it is
};
static_assert(sizeof(VmmCluster) == 8);

struct VmmAppend {
  std::uint64_t first = 0;  // LogIndex of the first record
  std::uint32_t count = 0;  // 1 …
  std::uint32_t reserved = 0;
};
static_assert(sizeof(VmmAppend) == 16);

struct VmmSnapshot {
  std::uint64_t index = 0;        // LogIndex of the last entry that it contains
  std::uint64_t total_bytes = 0;  // of the whole snapshot
  std::uint64_t offset = 0;       // of this chunk; chunks are sent in order
};
static_assert(sizeof(VmmSnapshot) == 24);

// A record travels whole in the body of one frame, as the only one of a VmmAppend if need be.
inline constexpr std::uint32_t kMaxRecordBytes = kMaxBodyBytes - sizeof(VmmAppend) - sizeof(std::uint32_t);
inline constexpr std::uint32_t kMaxSnapshotChunkBytes = kMaxBodyBytes - sizeof(VmmSnapshot);

}  // namespace gallocy::wire
