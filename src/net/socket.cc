#include "net/socket.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/random.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/check.h"

namespace gallocy::net {
namespace {

constexpr int kListenBacklog = 1024;  // more than kMaxNodes dial at once
constexpr int kSocketFlags = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

void set_option(int socket, int level, int name, int value) {
  CHECK(::setsockopt(socket, level, name, &value, sizeof value) == 0, name, value, errno);
}

tl::unexpected<Error> listen_error(const std::string& host, std::uint16_t port, int error) {
  if (error == EADDRINUSE)
    return fail(ErrorCode::kAddressInUse,
                fmt::format("port {} of {} is in use; choose another one, or 0 for any free port", port, host));
  if (error == EADDRNOTAVAIL)
    return fail(ErrorCode::kInvalidArgument, fmt::format("{} is not an address of this machine", host));
  return fail(ErrorCode::kOsError, fmt::format("cannot listen on {}:{}: {}", host, port, error_text(error)));
}

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

const char* error_text(int error) {
  const char* text = ::strerrordesc_np(error);
  return text ? text : "unknown error";
}

Result<std::vector<SocketAddress>> resolve(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const std::string service = std::to_string(port);
  int error = ::getaddrinfo(host.c_str(), service.c_str(), &hints, &found);
  if (error == EAI_NONAME) {
    hints.ai_flags = AI_NUMERICSERV;
    error = ::getaddrinfo(host.c_str(), service.c_str(), &hints, &found);
  }
  if (error != 0)
    return fail(ErrorCode::kUnreachable, fmt::format("host \"{}\" is unknown: {}", host, ::gai_strerror(error)));
  std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
  std::vector<SocketAddress> addresses;
  for (const addrinfo* a = found; a; a = a->ai_next) {
    std::memcpy(&addresses.emplace_back().storage, a->ai_addr, a->ai_addrlen);
    addresses.back().length = a->ai_addrlen;
  }
  return addresses;
}

Result<Fd> listen_tcp(const std::string& host, std::uint16_t port) {
  GALLOCY_ASSIGN(const auto addresses, resolve(host, port));
  const SocketAddress& address = addresses.front();
  Fd socket(::socket(address.storage.ss_family, kSocketFlags, 0));
  if (!socket) return listen_error(host, port, errno);
  set_option(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1);  // a port whose last owner just ended is free
  const auto* name = reinterpret_cast<const sockaddr*>(&address.storage);
  if (::bind(socket.get(), name, address.length) != 0) return listen_error(host, port, errno);
  if (::listen(socket.get(), kListenBacklog) != 0) return listen_error(host, port, errno);
  return socket;
}

std::uint16_t local_port(int socket) {
  SocketAddress address;
  address.length = sizeof address.storage;
  CHECK(::getsockname(socket, reinterpret_cast<sockaddr*>(&address.storage), &address.length) == 0, errno);
  if (address.storage.ss_family == AF_INET6) return ntohs(reinterpret_cast<sockaddr_in6&>(address.storage).sin6_port);
  return ntohs(reinterpret_cast<sockaddr_in&>(address.storage).sin_port);
}

std::string local_host(int socket) {
  SocketAddress address;
  address.length = sizeof address.storage;
  auto* name = reinterpret_cast<sockaddr*>(&address.storage);
  CHECK(::getsockname(socket, name, &address.length) == 0, errno);
  char host[NI_MAXHOST];
  if (::getnameinfo(name, address.length, host, sizeof host, nullptr, 0, NI_NUMERICHOST) != 0) return "";
  return host;
}

SocketAddress unix_address(std::uint16_t port) {
  SocketAddress address;
  auto& name = reinterpret_cast<sockaddr_un&>(address.storage);
  name.sun_family = AF_UNIX;
  const auto end = fmt::format_to(name.sun_path + 1, "gallocy.{}", port);  // a leading zero byte: abstract
  address.length = static_cast<socklen_t>(end - reinterpret_cast<char*>(&name));
  return address;
}

Result<Fd> listen_unix(std::uint16_t& port) {
  constexpr int kTries = 100;  // random numbers of 2^16 of which at most some thousand are in use
  for (int i = 0; i < kTries; ++i) {
    std::uint16_t number = port;
    while (number == 0) CHECK(::getrandom(&number, sizeof number, 0) == sizeof number);
    Fd socket(::socket(AF_UNIX, kSocketFlags, 0));
    if (!socket) return listen_error("this machine", number, errno);
    const SocketAddress address = unix_address(number);
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length) != 0) {
      if (errno == EADDRINUSE && port == 0) continue;
      return listen_error("this machine", number, errno);
    }
    if (::listen(socket.get(), kListenBacklog) != 0) return listen_error("this machine", number, errno);
    port = number;
    return socket;
  }
  return listen_error("this machine", port, EADDRINUSE);
}

int start_connect(const SocketAddress& address, Fd& socket) {
  socket = Fd(::socket(address.storage.ss_family, kSocketFlags, 0));
  if (!socket) return errno;
  const auto* name = reinterpret_cast<const sockaddr*>(&address.storage);
  if (::connect(socket.get(), name, address.length) == 0 || errno == EINPROGRESS) return 0;
  return errno;
}

int connect_outcome(int socket) {
  int error = 0;
  socklen_t length = sizeof error;
  CHECK(::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length) == 0, errno);
  return error;
}

std::string peer_name(int socket) {
  SocketAddress address;
  address.length = sizeof address.storage;
  auto* name = reinterpret_cast<sockaddr*>(&address.storage);
  if (::getpeername(socket, name, &address.length) != 0) return "a peer that has gone";
  if (address.storage.ss_family == AF_UNIX) {
    ucred credentials{};
    socklen_t length = sizeof credentials;
    ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length);
    return fmt::format("local process {}", credentials.pid);
  }
  char host[NI_MAXHOST], service[NI_MAXSERV];
  constexpr int kNumeric = NI_NUMERICHOST | NI_NUMERICSERV;
  if (::getnameinfo(name, address.length, host, sizeof host, service, sizeof service, kNumeric) != 0) return "unknown";
  return fmt::format("{}:{}", host, service);
}

void tune_tcp(int socket, std::chrono::milliseconds peer_timeout) {
  const int timeout_ms = static_cast<int>(peer_timeout.count());
  set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, timeout_ms);
  // With TCP_USER_TIMEOUT set, an idle connection ends when a probe went unanswered for that time, whatever the count.
  set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, std::max(1, timeout_ms / 2000));
  set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, std::max(1, timeout_ms / 4000));
}

ssize_t send_with_fds(int socket, std::span<const std::byte> bytes, std::span<const int> fds) {
  CHECK(fds.size() <= kMaxPassedFds, fds.size());
  if (fds.empty()) return ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  iovec piece{const_cast<std::byte*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxPassedFds * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(fds.size_bytes());
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(fds.size_bytes());
  std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  return ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

ssize_t receive_with_fds(int socket, std::span<std::byte> bytes, std::vector<Fd>& fds) {
  iovec piece{bytes.data(), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxPassedFds * sizeof(int))];
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) return got;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t at = 0; at + sizeof(int) <= header->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + at, sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return got;
}

}  // namespace gallocy::net
