// Door: a member of an open cluster listens for as long as it lives. A thread of its own takes those who come through
// the handshake (net/reception.h): nodes that join, and visitors (net/visit.h), who are received on a thread each.
//
// Threads: constructed and destroyed by one; the callbacks run on the door's thread, `receive` on that of the visit.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <thread>

#include "net/mesh.h"
#include "net/reception.h"
#include "net/visit.h"

namespace gallocy::net {

class Door {
 public:
  struct Host {
    Handshake::IsConnected is_connected;
    std::function<void(Connection)> take_in;
    std::function<void(Visit&)> receive;
  };
  // `listener` and `tls` are borrowed.
  Door(const MeshOptions& options, int listener, const TlsContext* tls, Host host);
  // Ends all visits: what waits in them fails with kPeerLost.
  ~Door();
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;

 private:
  struct Guest {
    explicit Guest(Connection connection) : visit(std::move(connection)) {}
    Visit visit;
    std::atomic<bool> has_gone{false};
    std::thread thread;
  };
  // They know the secret, so this is only to bound what they cost.
  static constexpr std::size_t kMaxGuests = 64;

  void run();
  void show_in(Connection connection);
  void see_off();

  const MeshOptions options_;
  const Attempt::Setting setting_;
  const Host host_;
  Reception reception_;
  Fd stop_event_;
  std::list<Guest> guests_;  // the door thread's
  std::thread thread_;
};

}  // namespace gallocy::net
