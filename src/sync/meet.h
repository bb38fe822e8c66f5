// Meet: the barrier of all live nodes, one thread each. A binomial tree over the ranks of the live nodes, rooted at the
// lowest: 2 (n - 1) messages, ceil(log2 n) hops up and as many down (Hensgen, Finkel, Manber, "Two algorithms for
// barrier synchronization", 1988, in its combining form).
//
// The parent of rank r is r without its lowest set bit; the children of r are r + 2^k for all 2^k below that bit.
#pragma once

#include <cstdint>

#include "sync/effects.h"
#include "sync/state_digest.h"

namespace gallocy::sync {

class Context;

class Meet {
 public:
  Outcome arrive(Context& context, WaiterId waiter);  // kMismatch: another thread of this node is there already
  bool receive(Context& context, NodeId from, const wire::SyncMessage& m);
  bool cancel(WaiterId waiter);  // the arrival counts all the same
  void view_changed(Context& context);
  void digest(StateDigest& digest) const;

 private:
  void up(Context& context);
  void down(Context& context);

  std::uint32_t phase_ = 0;
  std::uint32_t came_ = 0;  // set of d = 2^k: the child d ranks above has come, with all below it
  bool here_ = false;       // this node has come
  std::uint64_t waiter_ = 0;
};

}  // namespace gallocy::sync
