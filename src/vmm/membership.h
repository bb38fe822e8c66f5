// What the log says of the nodes of the cluster.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"

namespace gallocy::vmm {

enum class MemberState : std::uint8_t { kPresent, kLeft, kDied };

struct Member {
  std::string address;
  MemberState state = MemberState::kPresent;
  Epoch since{};  // the epoch that its state opened
  std::uint64_t life = 1;
  std::uint64_t newcomer = 0;       // MemberJoined
  bool on_disk = false;             // MemberJoined
  std::vector<NodeId> missed_by{};  // members that have lost it (MemberMissed), ascending
};

struct Life {
  NodeId node{};
  std::uint64_t life = 0;
  bool operator==(const Life&) const = default;
};

// What the log says of one life of a node.
enum class Standing : std::uint8_t {
  kUnknown,  // it has not joined yet
  kPresent,
  kLeft,  // it said goodbye, and may still be there
  kOver,  // dead, or followed by another
};

}  // namespace gallocy::vmm
