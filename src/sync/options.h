// Options of the synchronisation core.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace gallocy::sync {

// Bugs that tests build in, to show that the simulator would find them. kNone everywhere else.
enum class FaultInjection : std::uint8_t {
  kNone,
  kForgetRequeue,      // a node that passes the token with threads still waiting does not ask for it again
  kForgetOrphan,       // the lock of a dead holder is granted as if nothing had happened
  kIgnoreTickets,      // "who is next" is believed even when it was meant for an earlier turn
  kRegisterTooEarly,   // recovery does not wait for what is in flight
  kReleaseTooEarly,    // waiting on a condition variable releases the mutex before its home has the waiter
  kKeepCrossedPermit,  // a permit that crosses with a cancel is not given back
  kForgetCounts,       // a home that moves keeps the counts of semaphores and latches to itself
  kDropLate,           // and drops what it is told by those who do not know yet that it is the home no more
  kRebuiltTooEarly,    // the next home says so before it has everything
};

struct Options {
  NodeId self{};
  std::uint16_t nodes = 1;        // numbers are below that
  std::vector<NodeId> present{};  // at first, with this one; empty: all. Others come by Core::node_joined
  // Among whom the homes of objects are dealt out; 0: all. Where nodes come and go it is the founders: while numbers
  // only grow, who comes is nobody's successor, so that no object changes its home because of it.
  std::uint16_t founders = 0;
  // Threads of one node that get a mutex in a row while another node waits for it. More lowers the traffic of a
  // contended mutex, and multiplies the longest wait of the other nodes.
  std::uint16_t most_local_turns = 8;
  FaultInjection fault_injection = FaultInjection::kNone;
};

// A message of a view this node does not know yet, or that has to wait for the end of a recovery, is put aside. A peer
// sends at most a few per object and waiting thread before it needs an answer; beyond this it breaks the protocol.
inline constexpr std::uint32_t kMostDeferred = 1u << 20;

// Objects looked at by one tick(), to drop those that are as new. Keeps a tick below about 10 µs.
inline constexpr std::uint32_t kSweepObjects = 128;

}  // namespace gallocy::sync
