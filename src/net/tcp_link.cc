#include "net/tcp_link.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/check.h"

namespace gallocy::net {
namespace {

void epoll_change(int epoll, int operation, int socket, std::uint32_t events, Link* link) {
  epoll_event event{.events = events, .data = {.ptr = link}};
  const int done = ::epoll_ctl(epoll, operation, socket, &event);
  CHECK(done == 0 || errno == ENOENT, operation, errno);  // ENOENT: the link has left the set before
}

bool would_block(int error) { return error == EAGAIN || error == EINTR; }

}  // namespace

TcpLink::TcpLink(const Setup& setup, Fd socket, std::unique_ptr<TlsSession> tls)
    : Link(setup),
      socket_(std::move(socket)),
      tls_(std::move(tls)),
      inbox_(std::make_unique_for_overwrite<std::byte[]>(kInboxBytes)) {}

void TcpLink::enter_epoll() { epoll_change(setup_.epoll, EPOLL_CTL_ADD, socket_.get(), EPOLLIN, this); }

Transfer TcpLink::write_some(std::span<const iovec> pieces) {
  if (tls_) return tls_->write(pieces);
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());
  message.msg_iovlen = pieces.size();
  const ssize_t sent = ::sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent >= 0) return {.bytes = static_cast<std::size_t>(sent)};
  if (would_block(errno)) return {};
  return {.ended = error_text(errno)};
}

// One call receives the rest of a payload in its place and what follows it in the inbox.
Transfer TcpLink::read_some(FrameSink& sink) {
  const std::span<iovec> missing = reader_.missing();
  std::array<iovec, 65> pieces;
  std::copy(missing.begin(), missing.end(), pieces.begin());
  std::size_t in_place = 0;
  for (const iovec& piece : missing) in_place += piece.iov_len;
  pieces[missing.size()] = {inbox_.get(), reader_.bulk() ? FrameReader::kBulkLookAhead : kInboxBytes};

  Transfer transfer = receive_into({pieces.data(), missing.size() + 1});
  if (transfer.bytes == 0) return transfer;
  in_place = std::min(in_place, transfer.bytes);
  reader_.filled(in_place, sink);
  if (!reader_.take({inbox_.get(), transfer.bytes - in_place}, sink)) transfer.ended = reader_.violation();
  return transfer;
}

Transfer TcpLink::receive_into(std::span<iovec> pieces) {
  if (tls_) return tls_->read(pieces);
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = pieces.size();
  const ssize_t got = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT);
  if (got > 0) return {.bytes = static_cast<std::size_t>(got)};
  if (got == 0) return {.ended = "closed the connection"};
  return would_block(errno) ? Transfer{} : Transfer{.ended = error_text(errno)};
}

void TcpLink::wants_output(bool waits) {
  epoll_change(setup_.epoll, EPOLL_CTL_MOD, socket_.get(), waits ? EPOLLIN | EPOLLOUT : EPOLLIN, this);
}

void TcpLink::hang_up() { ::shutdown(socket_.get(), SHUT_RDWR); }

void TcpLink::leave_epoll() {
  epoll_change(setup_.epoll, EPOLL_CTL_DEL, socket_.get(), 0, this);
  inbox_.reset();
}

bool TcpLink::delivered() const {
  int unacknowledged = 0;
  return ::ioctl(socket_.get(), SIOCOUTQ, &unacknowledged) != 0 || unacknowledged == 0;
}

// Acknowledgements come from the peer's kernel, also while its process is starved, stopped or takes no data. Their lack
// counts only once a retransmission was due: a connection that is idle gets none.
std::uint64_t TcpLink::unanswered_us() const {
  tcp_info info{};
  socklen_t length = sizeof info;
  if (::getsockopt(socket_.get(), IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return 0;
  const bool silent = info.tcpi_unacked > 0 && info.tcpi_retransmits > 0;
  return silent ? std::uint64_t{info.tcpi_last_ack_recv} * 1000 : 0;
}

}  // namespace gallocy::net
