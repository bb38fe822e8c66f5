#include "net/lobby.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace gallocy::net {

void Lobby::expect(std::span<const NodeId> nodes) {
  const std::lock_guard lock(mu_);
  expected_.emplace(nodes.begin(), nodes.end());
  std::erase_if(here_, [this](const auto& each) { return !expected_->contains(each.first); });
}

Result<std::vector<Connection>> Lobby::all(Clock::time_point deadline) {
  std::unique_lock lock(mu_);
  if (!changed_.wait_until(lock, deadline, [this] { return here_.size() == expected_->size(); })) {
    const auto missing = std::ranges::find_if(*expected_, [this](NodeId node) { return !here_.contains(node); });
    return fail(ErrorCode::kTimeout, fmt::format("node {} did not connect to this one", *missing));
  }
  std::vector<Connection> connections;
  for (auto& [node, connection] : std::exchange(here_, {})) connections.push_back(std::move(connection));
  return connections;
}

void Lobby::open() {
  const std::lock_guard lock(mu_);
  is_open_ = true;
}

// Who comes again before it is expected has given its first attempt up.
bool Lobby::refuses(NodeId peer) {
  const std::lock_guard lock(mu_);
  return !is_open_ && expected_ && (!expected_->contains(peer) || here_.contains(peer));
}

bool Lobby::keep(Connection& connection) {
  const std::lock_guard lock(mu_);
  if (is_open_) return false;
  if (!expected_ || expected_->contains(connection.peer))
    here_.insert_or_assign(connection.peer, std::move(connection));
  changed_.notify_all();
  return true;
}

}  // namespace gallocy::net
