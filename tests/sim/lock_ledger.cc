#include "lock_ledger.h"

#include <algorithm>

namespace gallocy::sim {

template <typename F>
void LockLedger::bury(Lock& lock, F is_gone) {
  std::erase_if(lock.readers, is_gone);
  if (std::erase_if(lock.writer, is_gone) == 0) return;
  lock.orphaned = true;
  ++counters_.bereft;
}

void LockLedger::granted(sync::SyncId id, sync::LockMode mode, const Holder& holder, sync::Outcome outcome) {
  CHECK(sync::succeeded(outcome), "neither granted nor given up", id, holder.node, static_cast<int>(outcome));
  if (declared_.contains(holder.node)) return;
  Lock& lock = locks_[id];
  bury(lock, [this](const Holder& each) { return declared_.contains(each.node); });
  const bool writes = mode == sync::LockMode::kExclusive, told = outcome == sync::Outcome::kOwnerDied;
  CHECK(lock.writer.empty(), "two holders of a lock", id, holder.node, lock.writer.front().node);
  CHECK(!writes || lock.readers.empty(), "a writer beside readers", id, holder.node);
  CHECK(told || !lock.orphaned, "its owner died, and the next was not told", id, holder.node);
  CHECK(!told || !declared_.empty(), "an owner died, and nobody is dead", id, holder.node);
  (writes ? lock.writer : lock.readers).push_back(holder);
  if (writes) lock.orphaned = false;
  ++counters_.granted;
  counters_.owner_died += told;
}

void LockLedger::released(sync::SyncId id, const Holder& holder) {
  Lock& lock = locks_[id];
  std::erase(lock.writer, holder);
  std::erase(lock.readers, holder);
}

void LockLedger::node_ended(NodeId node) {
  for (auto& [id, lock] : locks_) bury(lock, [node](const Holder& each) { return each.node == node; });
}

void LockLedger::check_rest() const {
  for (const auto& [id, lock] : locks_) CHECK(lock.writer.empty() && lock.readers.empty(), "held at rest", id);
}

}  // namespace gallocy::sim
