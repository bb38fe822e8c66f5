// SyncId: the number that names a synchronisation object anywhere in the cluster, and the rule that finds its home.
//
//   named    1 | 63 bits of the hash of the name     first home: the number modulo the founders of the cluster
//   unnamed  0 | 15 bits of node | 48 bits of serial  first home: the node that made it; if that is no founder, as
//   above
//
// When a home dies, the next live node in order of number, cyclically, takes its place (View::home_of).
#pragma once

#include <cstdint>
#include <string_view>

#include "base/ids.h"

namespace gallocy::sync {

using SyncId = Id<struct SyncTag, std::uint64_t>;

// Chosen by the caller: a thread of this node that can wait for one thing at a time. Not 0.
using WaiterId = Id<struct WaiterTag, std::uint64_t>;

inline constexpr std::uint64_t kNamedBit = std::uint64_t{1} << 63;
inline constexpr unsigned kSerialBits = 48;

// FNV-1a, finished with the mixer of SplitMix64: FNV alone leaves the upper bits of short names poor.
constexpr SyncId named_id(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111eb;
  return SyncId{(hash ^ (hash >> 31)) | kNamedBit};
}

// serial: 1 … 2^48 - 1, never reused by this node.
constexpr SyncId unnamed_id(NodeId creator, std::uint64_t serial) {
  return SyncId{(std::uint64_t{creator.value} << kSerialBits) | serial};
}

constexpr bool is_named(SyncId id) { return (id.value & kNamedBit) != 0; }

// kNoNode if the number cannot be one of a cluster whose nodes have numbers below `nodes`.
constexpr NodeId first_home(SyncId id, std::uint16_t nodes, std::uint16_t founders) {
  if (is_named(id)) return NodeId(static_cast<std::uint16_t>((id.value & ~kNamedBit) % founders));
  const std::uint64_t creator = id.value >> kSerialBits;
  const std::uint64_t serial = id.value & ((std::uint64_t{1} << kSerialBits) - 1);
  if (creator >= nodes || serial == 0) return kNoNode;
  return NodeId(static_cast<std::uint16_t>(creator < founders ? creator : id.value % founders));
}

}  // namespace gallocy::sync
