// TcpLink: a link over a TCP connection, in the clear or through TLS.
#pragma once

#include <memory>

#include "net/link.h"
#include "net/socket.h"
#include "net/tls.h"

namespace gallocy::net {

class TcpLink final : public Link {
 public:
  // `tls` is null for a connection in the clear; its handshake is over.
  TcpLink(const Setup& setup, Fd socket, std::unique_ptr<TlsSession> tls);

  void enter_epoll() override;
  bool before_sleep() override { return !tls_ || !tls_->has_pending(); }
  bool delivered() const override;
  std::uint64_t unanswered_us() const override;

 private:
  Transfer write_some(std::span<const iovec> pieces) override;
  Transfer read_some(FrameSink& sink) override;
  Transfer receive_into(std::span<iovec> pieces);
  void wants_output(bool waits) override;
  void hang_up() override;
  void leave_epoll() override;

  // Small frames are received through this buffer, several at once; one read of this size costs about as much as the
  // copy of a page.
  static constexpr std::size_t kInboxBytes = 64 * 1024;

  const Fd socket_;
  const std::unique_ptr<TlsSession> tls_;
  std::unique_ptr<std::byte[]> inbox_;  // until the link is over
};

}  // namespace gallocy::net
