// A runtime in an open cluster: nodes come and go (steward.h).
#include "base/log.h"
#include "os/build_id.h"
#include "os/clock.h"
#include "runtime/runtime.h"
#include "runtime/steward.h"
#include "runtime/sync_following.h"
#include "wire/heartbeat.h"

namespace gallocy::runtime {
Result<> Runtime::enter_cluster() {
  if (!settings_.log_dir.empty()) {
    GALLOCY_ASSIGN(disk_, LogDisk::open(settings_.log_dir));
  }
  // Before the others are told that this node starts again: it does not, if its journal is damaged.
  if (disk_ != nullptr && !disk_->is_empty()) {
    GALLOCY_ASSIGN(journal_, DurableDisk::open(disk_->durable_path(), disk_->identity().node));
  }
  steward_ = std::make_unique<Steward>(*this, *settings_.open, disk_.get(), settings_.without, settings_.shards);
  GALLOCY_ASSIGN(mesh_, steward_->enter({.build_id = os::build_id(),
                                         .peer_timeout = kPeerTimeout,
                                         .spin = settings_.spin,
                                         .loop_spin = settings_.loop_spin}));
  settings_.self = steward_->self();
  take_more(false);  // pages of regions that it does not know yet
  return {};
}

// With this node.
std::vector<NodeId> Runtime::present_at_first() const {
  std::vector<NodeId> present;
  if (is_open()) return steward_->present();
  for (std::uint16_t n = 0; n < nodes(); ++n) present.push_back(NodeId{n});
  return present;
}

// Before the loop runs: the log may come at any time from then on.
void Runtime::follow_members() {
  if (is_open()) {
    for (const vmm::Peer& peer : steward_->peers()) regions_->peer_up({peer.node, peer.life});
  }
  regions_->set_member_news(
      [this](NodeId node, const vmm::Member& member, Epoch epoch) { members_changed(node, member, epoch); });
  if (is_open()) {
    regions_->set_membership_news([this](const vmm::Machine& machine) { sync_->homes_move(homes_moved(machine)); });
  }
  regions_->set_leaver_news([this](NodeId node, bool leaves, Epoch epoch) { leaver_changed(node, leaves, epoch); });
}

// The others take this node in one by one; before all have, it must not be spoken of.
Result<> Runtime::settle_in() {
  GALLOCY_TRY(steward_->await_welcome());
  const auto joined = regions_->join(steward_->address(), settings_.open->join_timeout);
  if (!joined) return steward_->not_settled(joined.error());
  take_more(true);
  regions_->look([&](const vmm::Log& log) {  // and what changes from now on is told: follow_members()
    sync_->introduce(gone_before(log.machine()), homes_moved(log.machine()));
  });
  for (const NodeId node : steward_->absent()) lost(node, "it did not come back");
  // Before a region is mapped: that waits for all members, one of which may be waiting to get in here.
  steward_->open_door();
  return settings_.duty == Duty::kProgram ? make_heap(Placement::first_touch()) : Result<>();
}

std::uint16_t Runtime::present_nodes() const {
  if (!is_open()) return nodes();
  std::uint16_t count = 1;
  for (std::uint16_t n = 0; n < nodes(); ++n) count = static_cast<std::uint16_t>(count + is_present(NodeId{n}));
  return count;
}

bool Runtime::is_present(NodeId node) const {
  const Peer& peer = peers_[node.value];
  return peer.present && !peer.left && !peer.lost;
}

std::optional<NodeId> Runtime::departing_node() const {
  for (std::uint16_t n = 0; n < nodes(); ++n) {
    const Peer& peer = peers_[n];
    if (peer.present && peer.left && !peer.lost) return NodeId{n};
  }
  return std::nullopt;
}

// ---------------------------------------------------------------------------------------------- others

void Runtime::peer_up(NodeId node) {
  const os::MutexLock lock(fates_mu_);
  Peer& peer = peers_[node.value];
  if (peer.lost) {  // the log had it dead before it came
    mesh_->send(node, {.type = static_cast<std::uint16_t>(wire::MessageType::kExpelled)}, {}, {});
    return;
  }
  memory_->node_joined(node);
  sync_->node_joined(node);
  threads_->node_joined(node);
  regions_->peer_up({node, 1});  // numbers are not given twice
  durable_->connection_made(node);
  vigil_->begin(node);
  peer.present = true;
  mesh_->send(node, {.type = static_cast<std::uint16_t>(wire::MessageType::kWelcome)}, {}, {});
}

void Runtime::peer_down(NodeId peer, std::string_view reason) {
  if (is_open() && peers_[peer.value].left) {
    departed(peer);
  } else {
    lost(peer, reason);
  }
}

// It had left the cluster, and now has gone.
void Runtime::departed(NodeId peer) {
  const os::MutexLock lock(fates_mu_);
  if (peers_[peer.value].lost.exchange(true)) return;
  regions_->node_lost(peer);
  part_from(peer);
}

// Under the lock of Regions: what takes it again has to wait.
void Runtime::members_changed(NodeId node, const vmm::Member& member, Epoch epoch) {
  if (member.state == vmm::MemberState::kDied) return declared_gone(node);
  if (node == self()) return;
  if (member.state == vmm::MemberState::kLeft) {
    peers_[node.value].left = true;
    memory_->node_leaves(node, true);
    say_farewell(node, epoch);
    if (is_open() && peers_[node.value].present) declared_gone(node);  // its link may have ended before
  }
}

void Runtime::leaver_changed(NodeId node, bool leaves, Epoch epoch) {
  if (node == self()) return;
  memory_->node_leaves(node, leaves);
  if (leaves) say_farewell(node, epoch);
}

void Runtime::say_farewell(NodeId node, Epoch epoch) {
  if (!peers_[node.value].present) return;
  const wire::Farewell body{.epoch = epoch.value};
  mesh_->queue(node, wire::MessageType::kFarewell, std::as_bytes(std::span(&body, 1)));
}

// ---------------------------------------------------------------------------------------------- leaving

Result<> Runtime::leave() {
  threads_->wait_for_running();
  if (heap_ != nullptr) heap_->core().flush();
  GALLOCY_TRY(steward_->leave());
  has_left_ = true;
  return {};
}

void Runtime::leave_somehow() {
  if (!has_left_) {
    if (const auto left = leave(); !left)
      log_event(LogLevel::kError, "left_in_disorder", "node", self(), "reason", left.error().message);
  }
  mesh_->close_door();
}

}  // namespace gallocy::runtime
