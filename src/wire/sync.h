// The body of every synchronisation message: one fixed struct, whose fields mean what the verb's line says.
// docs/protocol.md has the table of who sends which to whom, and when.
#pragma once

#include <cstdint>
#include <type_traits>

#include "base/ids.h"
#include "wire/frame.h"

namespace gallocy::wire {

// N: a node that uses the object, H: the home of the object, O: the node that holds the token.
// `ticket` names one request of N, so that an answer that comes too late is known as such.
enum class SyncVerb : std::uint8_t {
  // Recovery after the death of a node, all to all; `object` is 0.
  kFlush,    // nothing that was sent in an older view follows
  kRebuilt,  // all Register of this view have been sent
  // Mutex
  kMutexAcquire,     // N -> H  ticket, mode SyncMode
  kMutexToken,       // O -> N  ticket of N, mode SyncFlag
  kMutexSuccessor,   // H -> O  ticket of O; node, other: who is next, and its ticket
  kMutexPassed,      // O -> H  ticket of O; node, other: who got the token; count: O's new ticket if it wants it again,
                     // else 0
  kMutexTryForward,  // H -> O  ticket of O; node, other: who tries
  kMutexDenied,      // H or O -> N  ticket
  kMutexRegister,    // O -> H  ticket; from the home that was: mode SyncMode, node: after so many moves
  // Shared mutex
  kRwRequest,   // N -> H  ticket, mode SyncMode
  kRwGrant,     // H -> N  ticket, mode SyncMode
  kRwRecall,    // H -> N  mode kSyncTry: give it back if it is idle, else answer Busy; other: ticket of who tries
  kRwRelease,   // N -> H
  kRwBusy,      // N -> H  other
  kRwDenied,    // H -> N  ticket
  kRwRegister,  // N -> H  mode SyncMode
  // Condition variable
  kConditionEnqueue,   // N -> H  ticket
  kConditionEnqueued,  // H -> N  ticket
  kConditionCancel,    // N -> H  ticket
  kConditionNotify,    // N -> H  mode 0: one, kSyncAll: all
  kConditionWake,      // H -> N  ticket
  kConditionWakeAll,   // H -> N  all that were enqueued before
  // Semaphore
  kSemaphoreAcquire,   // N -> H  ticket, count: initial value, mode SyncMode
  kSemaphoreRelease,   // N -> H  count, other: initial value
  kSemaphoreCancel,    // N -> H  ticket
  kSemaphoreGrant,     // H -> N  ticket
  kSemaphoreDenied,    // H -> N  ticket, mode SyncFlag
  kSemaphoreRegister,  // N -> H  mode SyncFlag; from the home that was: count, ticket: its upper half, other: initial
                       // value, node: after so many moves
  // Barrier
  kBarrierArrive,    // N -> H  count: arrivals, other: expected
  kBarrierRelease,   // H -> N  count: of these, from now on free
  kBarrierBroken,    // H -> N
  kBarrierRegister,  // N -> H  a barrier that was in use when a node died
  // Latch
  kLatchCountDown,  // N -> H  count, other: expected
  kLatchSubscribe,  // N -> H  other: expected
  kLatchQuery,      // N -> H  ticket, other: expected
  kLatchAnswer,     // H -> N  ticket, mode SyncFlag
  kLatchOpen,       // H -> N
  kLatchRegister,   // N -> H  mode SyncFlag; from the home that was: count: how many are missing, node: after so many
                    // moves
  // Once
  kOnceCall,      // N -> H  ticket
  kOnceRun,       // H -> N  ticket
  kOnceDone,      // H -> N
  kOnceEnd,       // N -> H  ticket, mode SyncFlag
  kOnceRegister,  // N -> H  ticket, mode SyncFlag
  // The barrier of all nodes; `object` is 0
  kMeetUp,    // child -> parent  count: phase
  kMeetDown,  // parent -> child  count: phase
  // H -> N  the object is of another kind, or was made with another number
  kMismatch,
};
inline constexpr std::uint8_t kSyncVerbs = static_cast<std::uint8_t>(SyncVerb::kMismatch) + 1;
static_assert(kSyncVerbs <= 0x100, "the frame types 0x200 … 0x2ff");

// Bits of SyncMessage::mode in requests and grants (SyncMode).
inline constexpr std::uint8_t kSyncWrite = 1;      // shared mutex: exclusive
inline constexpr std::uint8_t kSyncTry = 2;        // answer at once
inline constexpr std::uint8_t kSyncReleasing = 4;  // shared mutex: the sender gives back what it holds
inline constexpr std::uint8_t kSyncOwnerDied = 8;  // the last holder may have died inside
inline constexpr std::uint8_t kSyncAll = 16;       // notify all
inline constexpr std::uint8_t kSyncHomeWas = 32;   // registers what the home that was knew

// Bits of SyncMessage::mode in answers and registrations (SyncFlag).
inline constexpr std::uint8_t kSyncDone = 1;  // once: the function has run; latch: open
inline constexpr std::uint8_t kSyncLost = 2;  // the state died with the last home

struct SyncMessage {
  std::uint64_t object = 0;
  std::uint64_t view = 0;  // the changes the sender knew of: sync/view.h
  std::uint32_t ticket = 0;
  std::uint32_t other = 0;
  std::uint32_t count = 0;
  std::uint16_t node = 0;
  SyncVerb verb = SyncVerb::kFlush;
  std::uint8_t mode = 0;
};
static_assert(sizeof(SyncMessage) == 32 && std::has_unique_object_representations_v<SyncMessage>);

// A node that leaves gives back a token or right that it kept: its home takes it by locking the object.
struct SyncRecall {
  std::uint64_t object = 0;
  std::uint64_t is_shared_mutex = 0;
};
static_assert(sizeof(SyncRecall) == 16);
inline constexpr MessageType kSyncRecall = MessageType::kSyncLast;

constexpr MessageType frame_type(SyncVerb verb) {
  return static_cast<MessageType>(static_cast<std::uint16_t>(MessageType::kSyncFirst) +
                                  static_cast<std::uint8_t>(verb));
}

}  // namespace gallocy::wire
