// Nodes that this one has lost, and those that the log says are dead. docs/decisions/0016 tells why these are two
// things.
#include <poll.h>

#include "base/check.h"
#include "base/log.h"
#include "runtime/runtime.h"
#include "runtime/steward.h"

namespace gallocy::runtime {
namespace {

constexpr int kLauncherEndsUsMs = 1'000;

}  // namespace

void Runtime::lost(NodeId peer, std::string_view reason, LogLevel level) {
  const os::MutexLock lock(fates_mu_);
  if (peers_[peer.value].left || peers_[peer.value].lost.exchange(true)) return;
  if (link_ != nullptr) link_->report_lost(peer, reason);
  if (settings_.on_peer_lost == OnPeerLost::kEnd) {
    // The launcher says it once for all nodes and ends them. If it does not, this node ends itself.
    ::poll(nullptr, 0, kLauncherEndsUsMs);
    die(static_cast<int>(ErrorCode::kPeerLost), fmt::format("gallocy: node {} lost node {}: {}", self(), peer, reason));
  }
  if (is_open()) log_event(level, "node_lost", "node", peer, "reason", reason);
  durable_->connection_lost(peer);
  regions_->node_lost(peer);
  // Whoever has the majority goes on without this node. It must not go on beside them.
  if (const auto company = regions_->majority(); !company)
    die(static_cast<int>(ErrorCode::kPeerLost), fmt::format("gallocy: node {}: {}", self(), company.error().message));
  if (!regions_->can_decide()) bury(peer);
}

// It is dead to all. Not before: it may be this node that is cut off, and what it did meanwhile would stay.
void Runtime::bury(NodeId peer) {
  if (peers_[peer.value].buried.exchange(true)) return;
  memory_->node_died(peer);
  regions_->tell_homes_again();
  sync_->node_died(peer);
  threads_->node_died(peer);
  if (steward_ != nullptr) steward_->gone(peer);
}

// It has left in order, and there is no link to it any more.
void Runtime::part_from(NodeId peer) {
  if (peers_[peer.value].buried.exchange(true)) return;
  memory_->node_died(peer);
  sync_->node_left(peer);
  threads_->node_died(peer);
  steward_->gone(peer);
}

// Under the lock of Regions: what takes it again has to wait.
void Runtime::declared_gone(NodeId node) {
  const os::MutexLock lock(declared_mu_);
  declared_gone_.push_back(node);
  any_declared_ = true;
}

// Some of them this node has a link to, or never had one. To one that left in order the link may have ended before this
// node read in the log that it left.
void Runtime::bury_the_declared() {
  std::vector<NodeId> nodes;
  {
    const os::MutexLock lock(declared_mu_);
    nodes.swap(declared_gone_);
    any_declared_ = false;
  }
  for (const NodeId node : nodes) {
    if (node == self())
      die(static_cast<int>(ErrorCode::kPeerLost),
          fmt::format("gallocy: node {}: the others took it for dead, and go on without it", self()));
    const bool knew = peers_[node.value].present;  // else it died before this node came
    if (!peers_[node.value].left) lost(node, "the cluster took it for dead", knew ? LogLevel::kWarn : LogLevel::kDebug);
    const os::MutexLock lock(fates_mu_);
    if (!peers_[node.value].left) {
      bury(node);
    } else if (peers_[node.value].lost) {
      part_from(node);
    }
  }
}

}  // namespace gallocy::runtime
