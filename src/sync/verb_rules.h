// What holds for every message of a verb, before an object looks at it.
#pragma once

#include <cstdint>

#include "wire/sync.h"

namespace gallocy::sync {

enum class Way : std::uint8_t { kAny, kToHome, kFromHome };

struct VerbRule {
  Way way = Way::kAny;
  // Sent in an older view, it is dropped: recovery has made it void, and its sender asks or tells again.
  bool void_when_stale = false;
  bool recovery = false;    // handled while the state is being rebuilt
  bool names_node = false;  // SyncMessage::node is a live node
  bool names_object = true;
};

constexpr VerbRule rule_of(wire::SyncVerb verb) {
  using enum wire::SyncVerb;
  switch (verb) {
    case kFlush:
    case kRebuilt:
      return {.void_when_stale = true, .recovery = true, .names_object = false};
    case kMeetUp:
    case kMeetDown:
      return {.void_when_stale = true, .names_object = false};

    case kMutexAcquire:
      return {.way = Way::kToHome, .void_when_stale = true};
    case kMutexPassed:
      return {.way = Way::kToHome, .void_when_stale = true, .names_node = true};
    case kMutexSuccessor:
    case kMutexTryForward:
      return {.way = Way::kFromHome, .void_when_stale = true, .names_node = true};
    case kMutexDenied:
      return {.void_when_stale = true};
    case kMutexToken:
      return {};
    case kRwRequest:
    case kRwRelease:
    case kRwBusy:
      return {.way = Way::kToHome, .void_when_stale = true};
    case kRwRecall:
    case kRwDenied:
      return {.way = Way::kFromHome, .void_when_stale = true};
    case kMutexRegister:
    case kRwRegister:
      return {.way = Way::kToHome, .void_when_stale = true, .recovery = true};

    case kSemaphoreRegister:
    case kBarrierRegister:
    case kLatchRegister:
    case kOnceRegister:
      return {.way = Way::kToHome, .recovery = true};

    case kConditionEnqueue:
    case kConditionCancel:
    case kConditionNotify:
    case kSemaphoreAcquire:
    case kSemaphoreRelease:
    case kSemaphoreCancel:
    case kBarrierArrive:
    case kLatchCountDown:
    case kLatchSubscribe:
    case kLatchQuery:
    case kOnceCall:
    case kOnceEnd:
      return {.way = Way::kToHome};

    case kRwGrant:
    case kConditionEnqueued:
    case kConditionWake:
    case kConditionWakeAll:
    case kSemaphoreGrant:
    case kSemaphoreDenied:
    case kBarrierRelease:
    case kBarrierBroken:
    case kLatchAnswer:
    case kLatchOpen:
    case kOnceRun:
    case kOnceDone:
    case kMismatch:
      return {.way = Way::kFromHome};
  }
  return {};
}

}  // namespace gallocy::sync
