// ShmLink: a link between two nodes of one machine over a pair of rings. The Unix socket of the handshake stays open:
// its end is the sign that the peer is gone, and nothing else is ever sent on it. A poller that sleeps is woken through
// its node's doorbell, an eventfd that every peer has.
#pragma once

#include "net/link.h"
#include "net/shm_memory.h"
#include "net/socket.h"

namespace gallocy::net {

class ShmLink final : public Link {
 public:
  // `dialed`: which of the two rings is this side's to write.
  ShmLink(const Setup& setup, Fd socket, Fd memory, Fd peer_doorbell, bool dialed);

  void enter_epoll() override;
  void on_event() override;
  bool before_sleep() override { return !peer_gone_ && incoming_.announce_sleep(); }
  bool after_sleep() override { return incoming_.end_sleep(); }

 private:
  // Room is given back to the writer after this much at the latest, so that both sides copy at the same time.
  static constexpr std::size_t kReadBytes = 128 * 1024;

  Transfer write_some(std::span<const iovec> pieces) override;
  Transfer read_some(FrameSink& sink) override;
  void hang_up() override;
  void leave_epoll() override;
  void ring_doorbell();

  const Fd socket_;
  const Fd peer_doorbell_;
  const RingMapping mapping_;
  RingWriter outgoing_;  // guarded by the link's lock
  RingReader incoming_;  // the poller's
  bool peer_gone_ = false;
};

}  // namespace gallocy::net
