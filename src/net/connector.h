// Connector: sets up the connections of a node to others, on the thread that calls connect(). It dials the nodes with
// lower numbers, and dials again until the time is over, as they may not listen yet; those with higher numbers dial it
// (net/reception.h).
#pragma once

#include <poll.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "net/attempt.h"
#include "net/mesh.h"
#include "net/reception.h"
#include "net/socket.h"

namespace gallocy::net {

class Connector {
 public:
  using Clock = Attempt::Clock;

  // `listener` (-1: nobody is awaited), `doorbell` (shm) and `tls` (null: in the clear) are borrowed.
  Connector(const MeshOptions& options, int listener, int doorbell, const TlsContext* tls);

  // All connections, ordered by peer, or the error that names the node that is missing or wrong.
  Result<std::vector<Connection>> connect_all(const std::vector<Peer>& others);

 private:
  // A node that this one dials.
  struct Dial {
    Peer peer;
    std::vector<SocketAddress> candidates{};
    std::size_t tries = 0;
    Clock::time_point next_try{};
    std::unique_ptr<Attempt> attempt{};
    Error last_error{};
  };

  Result<> find_addresses(const std::vector<Peer>& others);
  bool is_missing(NodeId peer) const { return !connections_.contains(peer); }
  void start_dials();
  void wait_for_events();
  Result<> step_dials();
  Result<> step(Dial& dial);
  void let_in();
  tl::unexpected<Error> missing_nodes() const;
  std::string name_of(const Dial& dial) const;

  const MeshOptions& options_;
  const Attempt::Setting setting_;
  Clock::time_point deadline_;
  std::vector<Dial> dials_;
  std::vector<NodeId> awaited_;  // those that dial this node
  std::map<NodeId, Connection> connections_;
  Reception reception_;
  std::vector<pollfd> polled_;  // one for each dial, then the reception's
};

}  // namespace gallocy::net
