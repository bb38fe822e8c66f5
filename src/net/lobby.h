// Lobby: where those who come through the door wait until this node has all whom it begins with (Mesh::reunite). Some
// come before it knows that it has to expect them.
//
// Threads: expect(), all() and open() by the one that sets the mesh up; the rest by the door's.
#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "net/attempt.h"

namespace gallocy::net {

class Lobby {
 public:
  using Clock = std::chrono::steady_clock;

  // From now on nobody else comes in; who is here already and not expected has to go.
  void expect(std::span<const NodeId> nodes);
  // When all of them are here; kTimeout names the first that is not.
  Result<std::vector<Connection>> all(Clock::time_point deadline);
  // From now on everybody may come in, and nobody waits.
  void open();

  bool refuses(NodeId peer);
  // False: it need not wait.
  bool keep(Connection& connection);

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  bool is_open_ = false;
  std::optional<std::set<NodeId>> expected_;
  std::map<NodeId, Connection> here_;
};

}  // namespace gallocy::net
