// Effects: what a step of the synchronisation core asks the driver to do. The driver carries them out in the order of
// the list (messages to one node leave in that order); between two steps of the core nothing else may be sent by it.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "sync/sync_id.h"
#include "wire/sync.h"

namespace gallocy::sync {

enum class Outcome : std::uint8_t {
  kPending,     // returned only: a wake follows
  kGranted,     // the lock is held, the permit taken, the barrier passed, the latch open, the function has run
  kOwnerDied,   // as kGranted; a node died that may have held the lock
  kTimeout,     // given up by cancel()
  kWouldBlock,  // a try failed
  kPeerLost,    // can never end, or nobody can know that it will: a node died
  kRun,         // once: the caller runs the function, then calls once_end()
  kMismatch,    // the object is of another kind, was made with another number, or is not held
};

// After a wait on a condition variable the mutex is held with every outcome but kMismatch.
constexpr bool succeeded(Outcome outcome) { return outcome == Outcome::kGranted || outcome == Outcome::kOwnerDied; }

struct Effect {
  enum class Kind : std::uint8_t {
    kSend,  // send `message` to `node`
    kWake,  // the wait of `waiter` has ended with `outcome`
  };
  Kind kind;
  Outcome outcome = Outcome::kPending;
  NodeId node{};
  WaiterId waiter{};
  wire::SyncMessage message{};
};

// Reused from step to step: no allocation once it is as large as the largest step.
using Effects = std::vector<Effect>;

}  // namespace gallocy::sync
