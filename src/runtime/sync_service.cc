#include "runtime/sync_service.h"

#include <cstring>

#include "base/check.h"
#include "os/clock.h"

namespace gallocy::runtime {

SyncService::SyncService(const sync::Options& options, net::Mesh* mesh)
    : self_(options.self), mesh_(mesh), core_(options) {}

sync::SyncId SyncService::fresh_id() {
  return sync::unnamed_id(self_, next_serial_.fetch_add(1, std::memory_order_relaxed));
}

void SyncService::carry_out() {
  for (std::size_t i = 0; i < effects_.size(); ++i) {  // they may grow
    const sync::Effect effect = effects_[i];
    if (effect.kind == sync::Effect::Kind::kSend) {
      mesh_->queue(effect.node, wire::frame_type(effect.message.verb), std::as_bytes(std::span(&effect.message, 1)));
    } else if (const auto recall = recalls_.find(effect.waiter.value); recall != recalls_.end()) {
      const wire::SyncRecall taken = recall->second;
      recalls_.erase(recall);
      if (sync::succeeded(effect.outcome)) put_down(taken);
    } else {
      auto* const waiter = reinterpret_cast<Waiter*>(effect.waiter.value);
      waiter->outcome = effect.outcome;
      waiter->flag.set();
    }
  }
  effects_.clear();
}

Result<> SyncService::meet() {
  barriers_.fetch_add(1, std::memory_order_relaxed);
  Waiter waiter;
  sync::Outcome outcome;
  {
    const os::MutexLock lock(mu_);
    outcome = core_.meet(id_of(waiter), effects_);
    carry_out();
  }
  if (outcome == sync::Outcome::kPending) {
    (void)waiting_->wait(waiter.flag);
    outcome = waiter.outcome;
  }
  if (outcome == sync::Outcome::kGranted) return {};
  if (outcome == sync::Outcome::kMismatch) {
    return fail(ErrorCode::kInvalidArgument, "two threads of one node are in Node::barrier() at once");
  }
  const os::MutexLock lock(mu_);
  core_.acknowledge_losses();
  return fail(ErrorCode::kPeerLost, "a node died before it came to the barrier");
}

bool SyncService::frame_arrived(NodeId from, wire::MessageType type, std::span<const std::byte> body) {
  if (type == wire::kSyncRecall) {
    wire::SyncRecall recall;
    if (body.size() != sizeof recall) return false;
    std::memcpy(&recall, body.data(), sizeof recall);
    const os::MutexLock lock(mu_);
    return take_back(recall);
  }
  wire::SyncMessage m;
  if (body.size() != sizeof m) return false;
  std::memcpy(static_cast<void*>(&m), body.data(), sizeof m);
  if (static_cast<std::uint8_t>(m.verb) >= wire::kSyncVerbs || wire::frame_type(m.verb) != type) return false;
  const os::MutexLock lock(mu_);
  const std::uint64_t refused = core_.counters().refused;
  core_.message(from, m, effects_);
  carry_out();
  return core_.counters().refused == refused;
}

void SyncService::node_joined(NodeId node) {
  const os::MutexLock lock(mu_);
  core_.node_joined(node, effects_);
  carry_out();
}

void SyncService::introduce(const std::vector<NodeId>& gone, const sync::HomesMoved& moved) {
  const os::MutexLock lock(mu_);
  core_.introduce(gone, moved, effects_);
  carry_out();
}

void SyncService::homes_move(const sync::HomesMoved& moved) {
  const os::MutexLock lock(mu_);
  if (!core_.introduced()) return;
  core_.homes_move(moved, effects_);
  carry_out();
}

bool SyncService::has_no_homes() {
  const os::MutexLock lock(mu_);
  return core_.has_no_homes();
}

void SyncService::node_died(NodeId node) {
  const os::MutexLock lock(mu_);
  core_.node_died(node, effects_);
  carry_out();
}

void SyncService::node_left(NodeId node) {
  const os::MutexLock lock(mu_);
  core_.node_left(node, effects_);
  carry_out();
}

std::size_t SyncService::give_back() {
  const os::MutexLock lock(mu_);
  const auto kept = core_.kept();
  for (const sync::Core::Kept& one : kept) {
    if (!one.is_here) continue;
    const wire::SyncRecall recall{.object = one.id.value, .is_shared_mutex = one.is_shared_mutex};
    mesh_->queue(one.home, wire::kSyncRecall, std::as_bytes(std::span(&recall, 1)));
  }
  return kept.size();
}

bool SyncService::take_back(const wire::SyncRecall& recall) {
  const sync::SyncId id{recall.object};
  const std::uint64_t number = next_recall_;
  next_recall_ += 2;
  recalls_[number] = recall;
  const sync::WaiterId waiter{number};
  const sync::Outcome outcome = recall.is_shared_mutex != 0
                                    ? core_.rw_lock(id, sync::LockMode::kExclusive, waiter, effects_)
                                    : core_.lock(id, waiter, effects_);
  if (outcome != sync::Outcome::kPending) {
    recalls_.erase(number);
    if (sync::succeeded(outcome)) put_down(recall);
  }
  carry_out();
  return outcome != sync::Outcome::kMismatch;
}

void SyncService::put_down(const wire::SyncRecall& recall) {
  const sync::SyncId id{recall.object};
  if (recall.is_shared_mutex != 0) {
    (void)core_.rw_unlock(id, sync::LockMode::kExclusive, effects_);
  } else {
    (void)core_.unlock(id, effects_);
  }
}

void SyncService::tick() {
  const os::MutexLock lock(mu_);
  core_.tick(effects_);
  carry_out();
}

void SyncService::add_statistics(Statistics& s) {
  const os::MutexLock lock(mu_);
  s.lock_acquires += core_.counters().acquires;
  s.lock_cached += core_.counters().acquires_cached;
  s.barriers += barriers_.load(std::memory_order_relaxed);
  s.metadata_bytes += core_.metadata_bytes();
}

}  // namespace gallocy::runtime
