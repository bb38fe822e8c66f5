#include "net/rendezvous_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "net/keep_alive.h"

namespace gallocy::net {

using rendezvous::Frame;
using rendezvous::FrameType;

namespace {

constexpr int kMaxAcceptsAtOnce = 16;

// How long those that wait for missing nodes are left to the caller, who can end them with one message for all.
constexpr std::chrono::milliseconds kMissingNotice{1'000};

struct Listener {
  int fd;
  std::uint16_t port;
};

Result<Listener> listen_at(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found); code != 0) {
    return fail(ErrorCode::kUnreachable,
                fmt::format("'{}' is not an address to listen at: {}", host, ::gai_strerror(code)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  const int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return fail(ErrorCode::kOsError, fmt::format("cannot open a socket: {}", std::strerror(errno)));
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd, found->ai_addr, found->ai_addrlen) != 0 || ::listen(fd, SOMAXCONN) != 0) {
    const int error = errno;
    ::close(fd);
    const auto code = error == EADDRINUSE      ? ErrorCode::kAddressInUse
                      : error == EADDRNOTAVAIL ? ErrorCode::kUnreachable
                      : error == EACCES        ? ErrorCode::kNotPermitted
                                               : ErrorCode::kOsError;
    return fail(code, fmt::format("cannot listen at {}:{}: {}", host, port, std::strerror(error)));
  }
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  const auto bound = address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                                                   : reinterpret_cast<sockaddr_in*>(&address)->sin_port;
  return Listener{fd, ntohs(bound)};
}

std::string describe(const sockaddr_storage& address, socklen_t length) {
  char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
  ::getnameinfo(reinterpret_cast<const sockaddr*>(&address), length, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
  return fmt::format("{}:{}", host, port);
}

}  // namespace

Result<std::unique_ptr<Rendezvous>> Rendezvous::open(RendezvousOptions options, RendezvousEvents& events) {
  CHECK(options.secret.size() >= rendezvous::kMinSecretBytes && options.nodes >= 1);
  GALLOCY_ASSIGN(const auto listener, listen_at(options.host, options.port));
  return std::unique_ptr<Rendezvous>(new Rendezvous(std::move(options), events, listener.fd, listener.port));
}

Rendezvous::Rendezvous(RendezvousOptions options, RendezvousEvents& events, int listen_fd, std::uint16_t port)
    : options_(std::move(options)),
      events_(events),
      listen_fd_(listen_fd),
      port_(port),
      epoll_fd_(::epoll_create1(EPOLL_CLOEXEC)),
      members_(options_.nodes) {
  CHECK(epoll_fd_ >= 0, errno);
  epoll_event interest{.events = EPOLLIN, .data = {.fd = listen_fd_}};
  CHECK(::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, listen_fd_, &interest) == 0, errno);
}

Rendezvous::~Rendezvous() {
  for (const auto& [fd, connection] : connections_) ::close(fd);
  ::close(epoll_fd_);
  ::close(listen_fd_);
}

std::optional<Rendezvous::TimePoint> Rendezvous::deadline() const {
  std::optional<Clock::time_point> earliest = join_deadline_ ? join_deadline_ : missing_deadline_;
  if (strangers() == 0) return earliest;
  for (const auto& [fd, connection] : connections_) {
    const auto expires = connection->since + kStrangerTimeout;
    if (connection->state != State::kIn && (!earliest || expires < *earliest)) earliest = expires;
  }
  return earliest;
}

void Rendezvous::step() {
  epoll_event ready[64];
  const int count = ::epoll_wait(epoll_fd_, ready, 64, 0);
  bool is_listener_ready = false;
  for (int i = 0; i < count; ++i) {
    if (ready[i].data.fd == listen_fd_) {
      is_listener_ready = true;
      continue;
    }
    const auto found = connections_.find(ready[i].data.fd);
    if (found == connections_.end()) continue;  // closed by an earlier event of this step
    if ((ready[i].events & EPOLLOUT) != 0) flush(*found->second);
    if ((ready[i].events & ~EPOLLOUT) != 0) read(*found->second);
  }
  if (is_listener_ready) accept_some();
  const auto now = Clock::now();
  if (strangers() > 0) expire_strangers(now);
  expire_join(now);
}

std::size_t Rendezvous::request_statistics() {
  std::size_t asked = 0;
  for (const auto& [fd, connection] : connections_) {
    if (connection->state != State::kIn || connection->finished) continue;
    ++asked;
    // One question at a time: a node that does not read must not fill our memory.
    if (std::exchange(connection->asked, true)) continue;
    send(*connection, FrameType::kStatisticsWanted, {});
  }
  return asked;
}

// Those that are here are looked at before more are let in, so that who speaks is not taken for silent.
void Rendezvous::accept_some() {
  for (int i = 0; i < kMaxAcceptsAtOnce; ++i) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    const int fd = ::accept4(listen_fd_, reinterpret_cast<sockaddr*>(&address), &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
      // Out of descriptors: else the listener would stay ready for ever. Any other error but EAGAIN concerns a
      // connection that is gone again.
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) make_room();
      return;
    }
    // The nodes that are still to come are strangers, too, until they have proved who they are.
    if (strangers() >= kMaxStrangers + options_.nodes - came_) make_room();
    keep_alive(fd);
    auto connection = std::make_unique<Connection>();
    connection->fd = fd;
    connection->peer = describe(address, length);
    connection->since = Clock::now();
    connection->number = ++accepted_;
    epoll_event interest{.events = EPOLLIN, .data = {.fd = fd}};
    CHECK(::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &interest) == 0, errno);
    connections_.emplace(fd, std::move(connection));
  }
}

// Closes the stranger that has shown least that it is a node, and of several the one that came first.
void Rendezvous::make_room() {
  Connection* victim = nullptr;
  for (const auto& [fd, connection] : connections_) {
    if (connection->state == State::kIn) continue;
    const auto rank = [](const Connection& c) { return std::tuple(c.state == State::kProof, c.heard, c.number); };
    if (victim == nullptr || rank(*connection) < rank(*victim)) victim = connection.get();
  }
  if (victim != nullptr) refuse(*victim, "too many connections at once");
}

void Rendezvous::read(Connection& connection) {
  const int fd = connection.fd;
  std::byte buffer[16 << 10];
  for (;;) {
    const auto got = ::recv(fd, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      if (connection.state != State::kIn)
        refuse(connection, "it closed the connection without proving the secret");
      else
        close(connection);
      return;
    }
    connection.heard = true;
    connection.stream.feed({buffer, static_cast<std::size_t>(got)});
    for (;;) {
      auto frame = connection.stream.next();
      if (!frame) {
        refuse(connection, frame.error().message);
        return;
      }
      if (!*frame) break;
      if (!receive(connection, **frame)) return;
    }
  }
}

bool Rendezvous::receive(Connection& connection, const Frame& frame) {
  switch (connection.state) {
    case State::kHello:
      return receive_hello(connection, frame);
    case State::kProof:
      return receive_proof(connection, frame);
    case State::kIn:
      return receive_from_node(connection, frame);
  }
  return false;
}

bool Rendezvous::receive_hello(Connection& connection, const Frame& frame) {
  auto& hello = connection.hello;
  if (frame.type != FrameType::kHello || frame.body.size() != sizeof hello) return refuse(connection, "not gallocy");
  std::memcpy(&hello, frame.body.data(), sizeof hello);
  if (hello.magic != rendezvous::kMagic) return refuse(connection, "not gallocy");
  if (hello.version != rendezvous::kVersion) {
    return refuse(connection, fmt::format("it speaks version {} of the rendezvous, this launcher speaks {}",
                                          hello.version, rendezvous::kVersion));
  }
  if (hello.nodes != options_.nodes || hello.node >= options_.nodes) {
    return refuse(connection, "it belongs to another cluster");
  }
  connection.challenge = random_nonce();
  connection.state = State::kProof;
  send(connection, FrameType::kChallenge, connection.challenge);
  return true;
}

bool Rendezvous::receive_proof(Connection& connection, const Frame& frame) {
  const auto expected =
      rendezvous::prove(options_.secret, rendezvous::Side::kNode, connection.hello, connection.challenge);
  if (frame.type != FrameType::kProof || !equal_macs(frame.body, expected)) {
    return refuse(connection, "wrong secret");
  }
  auto& member = members_[connection.hello.node];
  if (member.came) return refuse(connection, fmt::format("node {} has come already", connection.hello.node));
  member.came = true;
  member.connection = &connection;
  connection.state = State::kIn;
  ++inside_;
  if (++came_ == 1) join_deadline_ = Clock::now() + options_.join_timeout;
  send(connection, FrameType::kWelcome,
       rendezvous::prove(options_.secret, rendezvous::Side::kLauncher, connection.hello, connection.challenge));
  connection.stream.seal(options_.secret, connection.hello, connection.challenge);
  events_.node_joined(NodeId{connection.hello.node});
  return true;
}

bool Rendezvous::receive_from_node(Connection& connection, const Frame& frame) {
  const NodeId node{connection.hello.node};
  switch (frame.type) {
    case FrameType::kAddress:
      return receive_address(connection, frame);
    case FrameType::kStatistics:
      connection.asked = false;
      events_.node_statistics(node, {reinterpret_cast<const char*>(frame.body.data()), frame.body.size()});
      return true;
    case FrameType::kPeerLost: {
      const auto loss = rendezvous::decode_loss(frame.body);
      if (!loss || loss->peer.value >= options_.nodes) return refuse(connection, "bad report of a lost peer");
      events_.node_lost_peer(node, loss->peer, loss->reason);
      return true;
    }
    case FrameType::kFinished:
      if (!connection.finished) {
        connection.finished = true;
        events_.node_finished(node);
      }
      send(connection, FrameType::kFarewell, {});
      return true;
    default:
      return refuse(connection, "unexpected frame");
  }
}

bool Rendezvous::receive_address(Connection& connection, const Frame& frame) {
  auto& member = members_[connection.hello.node];
  auto addresses = rendezvous::decode_addresses(frame.body);
  if (!addresses || addresses->size() != 1 || member.address) return refuse(connection, "bad address");
  member.address = addresses->front();
  if (++addresses_known_ < options_.nodes) return true;

  join_deadline_.reset();
  missing_deadline_.reset();
  std::vector<PeerAddress> all;
  for (const auto& one : members_) all.push_back(*one.address);
  const auto body = rendezvous::encode_addresses(all);
  for (const auto& one : members_) {
    if (one.connection != nullptr) send(*one.connection, FrameType::kPeers, body);
  }
  events_.all_joined();
  return true;
}

void Rendezvous::send(Connection& connection, FrameType type, std::span<const std::byte> body) {
  connection.stream.encode(type, body, connection.out);
  flush(connection);
}

// An error shows up again when the connection is read, which is where it is closed.
void Rendezvous::flush(Connection& connection) {
  auto& out = connection.out;
  std::size_t done = 0;
  while (done < out.size()) {
    const auto sent = ::send(connection.fd, out.data() + done, out.size() - done, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) break;
    done += static_cast<std::size_t>(sent);
  }
  const bool waiting = done < out.size() && errno == EAGAIN;
  if (waiting)
    out.erase(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(done));
  else
    out.clear();
  epoll_event interest{.events = waiting ? EPOLLIN | EPOLLOUT : EPOLLIN, .data = {.fd = connection.fd}};
  ::epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, connection.fd, &interest);
}

bool Rendezvous::refuse(Connection& connection, std::string_view why) {
  ++refusals_;
  if (refusals_ <= kMaxRefusalLines) {
    events_.stranger_refused(fmt::format("refused a connection from {}: {}", connection.peer, why));
  } else if (refusals_ == kMaxRefusalLines + 1) {
    events_.stranger_refused("refused more connections; further ones are not reported");
  }
  close(connection);
  return false;
}

void Rendezvous::close(Connection& connection) {
  const bool was_in = connection.state == State::kIn;
  const NodeId node{connection.hello.node};
  const int fd = connection.fd;
  if (was_in) {
    members_[node.value].connection = nullptr;
    --inside_;
  }
  connections_.erase(fd);
  ::close(fd);
  if (was_in) events_.node_gone(node);
}

void Rendezvous::expire_strangers(Clock::time_point now) {
  std::vector<Connection*> expired;
  for (const auto& [fd, connection] : connections_) {
    if (connection->state != State::kIn && connection->since + kStrangerTimeout <= now) {
      expired.push_back(connection.get());
    }
  }
  for (auto* connection : expired) refuse(*connection, "it did not prove the secret in time");
}

void Rendezvous::expire_join(Clock::time_point now) {
  if (join_deadline_ && *join_deadline_ <= now) {
    join_deadline_.reset();
    missing_deadline_ = now + kMissingNotice;
    events_.join_timed_out(missing());
  }
  if (missing_deadline_ && *missing_deadline_ <= now) {
    missing_deadline_.reset();
    const auto body = rendezvous::encode_nodes(missing());
    for (const auto& member : members_) {
      if (member.connection != nullptr && member.address) send(*member.connection, FrameType::kMissing, body);
    }
  }
}

std::size_t Rendezvous::strangers() const { return connections_.size() - inside_; }

std::vector<NodeId> Rendezvous::missing() const {
  std::vector<NodeId> nodes;
  for (std::uint16_t i = 0; i < options_.nodes; ++i) {
    if (!members_[i].address) nodes.push_back(NodeId{i});
  }
  return nodes;
}

}  // namespace gallocy::net
