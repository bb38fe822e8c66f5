// What a visitor says to a member of an open cluster (net/visit.h), and what it is answered. A message is a VisitHeader
// and a body.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "wire/bytes.h"

namespace gallocy::wire {

enum class VisitType : std::uint16_t {
  // Requests.
  kJoin = 0xa00,  // the body of kVmmAdmit (vmm/admission.h): let me be a node
  kStatus,        // nothing
  kLeave,         // LeaveRequest: that node shall leave the cluster
  kArrived,       // nothing: the newcomer is there, with links to all members
  kReturn,        // Returning: a node that has its log on disk starts again
  // Answers.
  kAdmission = 0xa40,  // a frame of vmm/admission.h: its type (16 bits) and body
  kStatusText,         // JSON
  kHasLeft,            // nothing
  kRefused,            // Refusal
  kReturns,            // Returning: so does this one
  kGoesOn,             // GoesOn: the cluster is at work
};

struct VisitHeader {
  std::uint16_t type = 0;  // VisitType
  std::uint16_t reserved = 0;
  std::uint32_t body_bytes = 0;  // 0 … kMaxVisitBytes
};
static_assert(sizeof(VisitHeader) == 8);

// The largest is the status of a cluster with many regions.
inline constexpr std::uint32_t kMaxVisitBytes = 16 << 20;

struct LeaveRequest {
  NodeId node{};  // kNoNode: the member that is asked
};

struct Refusal {
  int code = 0;  // ErrorCode
  std::string message;
};

// Who has more of the log knows better who the members are.
struct Returning {
  struct Member {
    NodeId node{};
    bool on_disk = false;  // its log is: it may come back
    std::string address;
    bool operator==(const Member&) const = default;
  };

  std::uint64_t cluster = 0;
  NodeId node{};
  std::uint64_t term = 0, index = 0;  // of the last entry that it has
  std::vector<Member> members;        // as of that entry, ascending
};

struct GoesOn {
  bool may_join = false;  // as a new member; false: not yet, ask again
};

Bytes encode(const LeaveRequest& request);
Bytes encode(const Refusal& refusal);
Bytes encode(const Returning& returning);
Bytes encode(const GoesOn& goes_on);
// False: the bytes are none.
bool decode(std::span<const std::byte> bytes, LeaveRequest& request);
bool decode(std::span<const std::byte> bytes, Refusal& refusal);
bool decode(std::span<const std::byte> bytes, Returning& returning);
bool decode(std::span<const std::byte> bytes, GoesOn& goes_on);

}  // namespace gallocy::wire
