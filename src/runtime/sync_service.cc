#include "runtime/sync_service.h"

#include <cstring>

#include "base/check.h"
#include "os/clock.h"

namespace gallocy::runtime {

SyncService::SyncService(NodeId self, std::uint16_t nodes, net::Mesh* mesh)
    : self_(self), mesh_(mesh), core_(sync::Options{.self = self, .nodes = nodes}) {}

sync::SyncId SyncService::fresh_id() {
  return sync::unnamed_id(self_, next_serial_.fetch_add(1, std::memory_order_relaxed));
}

void SyncService::carry_out() {
  for (const sync::Effect& effect : effects_) {
    if (effect.kind == sync::Effect::Kind::kSend) {
      mesh_->send(effect.node,
                  {.type = static_cast<std::uint16_t>(wire::frame_type(effect.message.verb)),
                   .body_bytes = sizeof effect.message},
                  std::as_bytes(std::span(&effect.message, 1)), {}, net::WhenFull::kQueue);
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

void SyncService::node_died(NodeId node) {
  const os::MutexLock lock(mu_);
  core_.node_died(node, effects_);
  carry_out();
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
