#include "net/shm_link.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"

namespace gallocy::net {
namespace {

constexpr const char* kBrokenRing = "broke the protocol: an impossible position in shared memory";

}  // namespace

ShmLink::ShmLink(const Setup& setup, Fd socket, Fd memory, Fd peer_doorbell, bool dialed)
    : Link(setup),
      socket_(std::move(socket)),
      peer_doorbell_(std::move(peer_doorbell)),
      mapping_(memory.get()),
      outgoing_(dialed ? mapping_.rings().to_acceptor : mapping_.rings().to_dialer),
      incoming_(dialed ? mapping_.rings().to_dialer : mapping_.rings().to_acceptor) {
  ::fcntl(peer_doorbell_.get(), F_SETFL, O_NONBLOCK);  // it came from the peer: ringing must not wait
}

void ShmLink::enter_epoll() {
  epoll_event event{.events = EPOLLIN, .data = {.ptr = static_cast<Link*>(this)}};
  CHECK(::epoll_ctl(setup_.epoll, EPOLL_CTL_ADD, socket_.get(), &event) == 0, errno);
}

Transfer ShmLink::write_some(std::span<const iovec> pieces) {
  do {
    const auto written = outgoing_.write(pieces);
    if (!written) return {.ended = kBrokenRing};
    if (*written == 0) continue;
    if (outgoing_.must_wake_reader()) ring_doorbell();
    return {.bytes = *written};
  } while (!outgoing_.announce_wait());
  return {};
}

Transfer ShmLink::read_some(FrameSink& sink) {
  const auto bytes = incoming_.readable();
  if (!bytes) return {.ended = kBrokenRing};
  if (bytes->empty()) return peer_gone_ ? Transfer{.ended = "closed the connection"} : Transfer{};
  const std::size_t part = std::min(bytes->size(), kReadBytes);
  const bool intact = reader_.take(bytes->first(part), sink);
  incoming_.consume(part);
  if (incoming_.must_wake_writer()) ring_doorbell();
  return {.bytes = part, .ended = intact ? nullptr : reader_.violation()};
}

void ShmLink::on_event() {
  char byte;
  const ssize_t got = ::recv(socket_.get(), &byte, 1, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  peer_gone_ = true;
  leave_epoll();  // else the end would keep the set ready while the ring is drained
}

void ShmLink::ring_doorbell() { ::eventfd_write(peer_doorbell_.get(), 1); }

void ShmLink::hang_up() { ::shutdown(socket_.get(), SHUT_RDWR); }

void ShmLink::leave_epoll() {
  const int done = ::epoll_ctl(setup_.epoll, EPOLL_CTL_DEL, socket_.get(), nullptr);
  CHECK(done == 0 || errno == ENOENT, errno);
}

}  // namespace gallocy::net
