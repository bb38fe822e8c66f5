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
  kJoin = 0xa00,  // JoinRequest: let me be a node
  kStatus,        // nothing
  kLeave,         // LeaveRequest: that node shall leave the cluster
  // Answers.
  kWelcome = 0xa40,  // JoinAnswer
  kStatusText,       // JSON
  kHasLeft,          // nothing
  kRefused,          // Refusal
};

struct VisitHeader {
  std::uint16_t type = 0;  // VisitType
  std::uint16_t reserved = 0;
  std::uint32_t body_bytes = 0;  // 0 … kMaxVisitBytes
};
static_assert(sizeof(VisitHeader) == 8);

// The largest is the status of a cluster with many regions.
inline constexpr std::uint32_t kMaxVisitBytes = 16 << 20;

struct JoinRequest {
  std::string host;  // where its peers reach it
  std::uint16_t port = 0;
};

struct JoinAnswer {
  struct Member {
    NodeId node{};
    std::string host;
    std::uint16_t port = 0;
  };
  NodeId node{};  // the newcomer's
  std::vector<Member> members;
};

struct LeaveRequest {
  NodeId node{};  // kNoNode: the member that is asked
};

struct Refusal {
  int code = 0;  // ErrorCode
  std::string message;
};

Bytes encode(const JoinRequest& request);
Bytes encode(const JoinAnswer& answer);
Bytes encode(const LeaveRequest& request);
Bytes encode(const Refusal& refusal);
// False: the bytes are none.
bool decode(std::span<const std::byte> bytes, JoinRequest& request);
bool decode(std::span<const std::byte> bytes, JoinAnswer& answer);
bool decode(std::span<const std::byte> bytes, LeaveRequest& request);
bool decode(std::span<const std::byte> bytes, Refusal& refusal);

}  // namespace gallocy::wire
