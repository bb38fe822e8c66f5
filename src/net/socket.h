// Sockets: a descriptor with an owner, and the few calls on TCP and Unix sockets that the mesh needs. Nothing here
// waits.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace gallocy::net {

// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd();

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

// The text of an errno value; unlike strerror(3) it is a constant and may be kept.
const char* error_text(int error);

// The addresses of a host. Numeric addresses are not looked up, so that they cost no name service.
Result<std::vector<SocketAddress>> resolve(const std::string& host, std::uint16_t port);

// A TCP socket that listens on host and port (0: chosen by the kernel).
Result<Fd> listen_tcp(const std::string& host, std::uint16_t port);
std::uint16_t local_port(int socket);
// The numeric address of this end of a TCP connection.
std::string local_host(int socket);

// A Unix socket in the abstract name space of this network namespace, numbered like a TCP port (0: any free number,
// which is returned in `port`).
Result<Fd> listen_unix(std::uint16_t& port);
SocketAddress unix_address(std::uint16_t port);

// Starts to connect; the socket becomes writable when the outcome is known. 0, or an errno value.
int start_connect(const SocketAddress& address, Fd& socket);
// The outcome of a connection that was started: 0 or an errno value.
int connect_outcome(int socket);

// "host:port" of the other end, or "a local process" and its id for a Unix socket.
std::string peer_name(int socket);

// No delay for small frames; a peer that does not acknowledge, or a cut line, is found within about `peer_timeout` (the
// kernel counts keepalive in whole seconds, so an idle line is found no sooner than two seconds).
void tune_tcp(int socket, std::chrono::milliseconds peer_timeout);

// Sends bytes together with descriptors, of which the kernel takes copies; at most kMaxPassedFds.
inline constexpr std::size_t kMaxPassedFds = 2;
ssize_t send_with_fds(int socket, std::span<const std::byte> bytes, std::span<const int> fds);
// Receives bytes, and the descriptors that came with them.
ssize_t receive_with_fds(int socket, std::span<std::byte> bytes, std::vector<Fd>& fds);

}  // namespace gallocy::net
