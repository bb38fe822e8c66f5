#include "supervisor.h"

#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>

#include "children.h"
#include "net/rendezvous_frames.h"

namespace gallocy::command {

Supervisor::Supervisor(std::uint16_t nodes, OnPeerLost policy, Kind kind)
    : policy_(policy), kind_(kind), nodes_(nodes), running_(nodes) {}

void Supervisor::started(NodeId node, std::string host, std::int64_t pid) {
  nodes_[node.value].host = std::move(host);
  nodes_[node.value].pid = pid;
}

Verdict Supervisor::joined(NodeId node) {
  nodes_[node.value].joined = true;
  any_joined_ = true;
  if (ending_ || formed_) return {};
  // It would wait for one that has gone already.
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const NodeId other{static_cast<std::uint16_t>(i)};
    if (!nodes_[i].running && !nodes_[i].joined) {
      return broken(other, nodes_[i].end + " before it joined the others",
                    status_.value_or(static_cast<int>(ErrorCode::kPeerLost)));
    }
  }
  return {};
}

void Supervisor::finished(NodeId node) { nodes_[node.value].finished = true; }

Verdict Supervisor::exited(NodeId node, int wait_status) {
  auto& instance = nodes_[node.value];
  if (!instance.running) return {};  // counted when its machine was lost
  instance.running = false;
  instance.end = describe_end(wait_status);
  --running_;
  const int status = shell_status(wait_status);
  const bool killed = WIFSIGNALED(wait_status);
  if (kind_ == Kind::kOneProcess && node == NodeId{0} && !ending_) {
    ending_ = true;
    if (killed) killed_by_ = WTERMSIG(wait_status);
    status_ = status;  // also if it is 0: what ending the others gives is of no interest
    return {.end_all = true, .told = instance.finished};
  }
  if (ending_ || (interrupted_ != 0 && (!killed || WTERMSIG(wait_status) == interrupted_))) {
    note_status(status);
    const bool rest_must_end = killed && !ending_;
    ending_ = ending_ || killed;
    return {.end_all = rest_must_end};
  }
  // The program's own status is node 0's; the others only lend it their processors and memory.
  const bool lent = kind_ == Kind::kOneProcess;
  const auto failure = status == 0 || lent ? static_cast<int>(ErrorCode::kPeerLost) : status;
  if (killed) return broken(node, instance.end, failure);
  if (instance.joined && !instance.finished) {
    return broken(node, instance.end + " without leaving the cluster", failure);
  }
  if (!instance.joined && any_joined_ && !formed_) {
    return broken(node, instance.end + " before it joined the others", failure);
  }
  note_status(status);
  return {};
}

Verdict Supervisor::lost(NodeId node, std::string_view reason) {
  if (ending_ || leaving(node)) return {};
  auto verdict = broken(node, fmt::format("is lost: {}", reason), static_cast<int>(ErrorCode::kPeerLost));
  if (!verdict.end_all) {
    verdict.kill.push_back(node);
    nodes_[node.value].running = false;
    --running_;
  }
  return verdict;
}

Verdict Supervisor::join_timed_out(const std::vector<NodeId>& missing, unsigned seconds) {
  if (ending_ || missing.empty()) return {};
  ending_ = true;
  note_status(static_cast<int>(ErrorCode::kTimeout));
  const auto who = missing.size() == 1 ? describe(missing.front()) : net::rendezvous::name_nodes(missing);
  return {.message = fmt::format("{} did not join within {} s; ended all {}", who, seconds, nodes_.size()),
          .end_all = true};
}

// Counts the nodes as ended; returns those that had not left before.
std::vector<NodeId> Supervisor::strike(const std::vector<NodeId>& nodes) {
  std::vector<NodeId> gone;
  for (const auto node : nodes) {
    auto& instance = nodes_[node.value];
    if (!instance.running) continue;
    instance.running = false;
    --running_;
    if (!instance.finished) gone.push_back(node);
  }
  return gone;
}

Verdict Supervisor::host_failed(const std::vector<NodeId>& nodes, int status, std::string message) {
  strike(nodes);
  return stop(status, std::move(message));
}

Verdict Supervisor::host_lost(const std::vector<NodeId>& nodes, std::string_view reason) {
  const auto gone = strike(nodes);
  if (ending_ || gone.empty()) return {};
  const auto what =
      fmt::format("{} on {}: {}", net::rendezvous::name_nodes(gone), nodes_[gone.front().value].host, reason);
  if (may_go_on(running_)) return {.message = fmt::format("lost {}; {}", what, others_go_on(running_))};
  ending_ = true;
  note_status(static_cast<int>(ErrorCode::kPeerLost));
  return {.message = fmt::format("lost {}{}", what, ended_others()), .end_all = true};
}

Verdict Supervisor::stop(int status, std::string message) {
  if (ending_) return {};
  ending_ = true;
  note_status(status);
  return {.message = std::move(message), .end_all = true};
}

std::string Supervisor::describe(NodeId node) const {
  const auto& instance = nodes_[node.value];
  return fmt::format("node {} ({}, pid {})", node, instance.host, instance.pid);
}

void Supervisor::note_status(int status) {
  if (status != 0 && !status_) status_ = status;
}

Verdict Supervisor::broken(NodeId node, std::string_view what, int status) {
  const auto others = running_ - (nodes_[node.value].running ? 1 : 0);
  if (may_go_on(others)) return {.message = fmt::format("{} {}; {}", describe(node), what, others_go_on(others))};
  ending_ = true;
  note_status(status);
  return {.message = fmt::format("{} {}{}", describe(node), what,
                                 others == 0 ? "" : fmt::format("; ended the other {}", others)),
          .end_all = true};
}

// Nodes that have not all met yet cannot go on without one another. Those that have ended in order met all that lived
// before, and may be told of first.
bool Supervisor::may_go_on(std::size_t others) const {
  const bool others_are_well = others > 0 || std::ranges::any_of(nodes_, &Instance::finished);
  return policy_ == OnPeerLost::kContinue && formed_ && others_are_well;
}

std::string Supervisor::others_go_on(std::size_t others) {
  return others > 0 ? fmt::format("the other {} go on", others) : "the others have ended";
}

std::string Supervisor::ended_others() const {
  return running_ == 0 ? "" : fmt::format("; ended the other {}", running_);
}

}  // namespace gallocy::command
