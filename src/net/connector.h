// Connector: sets up the connections of a node to all others, on the thread that calls connect(). The higher node id
// dials the lower, and dials again until the time is over, as the other may not listen yet.
//
// Whoever else connects is refused with one log line each and takes nothing from those that belong here: no step waits,
// every connection has a deadline, and when too many are pending, those that have not said a word go first.
#pragma once

#include <poll.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/attempt.h"
#include "net/mesh.h"
#include "net/socket.h"

namespace gallocy::net {

class Connector {
 public:
  using Clock = Attempt::Clock;

  // `listener`, `doorbell` (shm) and `tls` (null: in the clear) are borrowed.
  Connector(const MeshOptions& options, int listener, int doorbell, const TlsContext* tls);

  // All connections, ordered by peer, or the error that names the node that is missing or wrong.
  Result<std::vector<Connection>> connect_all(const std::vector<PeerAddress>& addresses);

 private:
  // A node that this one dials.
  struct Dial {
    NodeId peer{};
    PeerAddress address;
    std::vector<SocketAddress> candidates;
    std::size_t tries = 0;
    Clock::time_point next_try;
    bool is_running = false;
    Error last_error;
  };

  Result<> find_addresses(const std::vector<PeerAddress>& addresses);
  void start_dials();
  void wait_for_events();
  void accept_some();
  void make_room();
  Result<> step_attempts();
  Result<> step(Attempt& attempt);
  Result<> dial_failed(const Attempt& attempt);
  void connected(Attempt& attempt);
  void refuse(const Attempt& attempt, std::string_view reason);
  tl::unexpected<Error> missing_nodes() const;
  std::string name_of(const Dial& dial) const;

  const MeshOptions& options_;
  const int listener_;
  Attempt::Setting setting_;
  Clock::time_point deadline_;
  std::vector<Dial> dials_;                             // index: peer id
  std::vector<std::optional<Connection>> connections_;  // index: peer id
  std::size_t missing_ = 0;
  std::vector<std::unique_ptr<Attempt>> attempts_;
  std::vector<pollfd> polled_;  // the listener, then one for each attempt
  std::size_t refusals_ = 0;
  std::map<NodeId, std::string> last_refusal_;  // by the id that the refused one claimed
};

}  // namespace gallocy::net
