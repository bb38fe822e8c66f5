#include "net/open_cluster.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>

#include "net/rendezvous_frames.h"
#include "net/socket.h"

namespace gallocy::net {
namespace {

std::string_view from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Result<bool> is_loopback(const std::string& host) {
  GALLOCY_ASSIGN(const auto addresses, resolve(host, 0));
  for (const SocketAddress& address : addresses) {
    if (address.storage.ss_family == AF_INET) {
      const auto& v4 = reinterpret_cast<const sockaddr_in&>(address.storage);
      if (ntohl(v4.sin_addr.s_addr) >> 24 != 127) return false;
    } else if (!IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6&>(address.storage).sin6_addr)) {
      return false;
    }
  }
  return true;
}

}  // namespace

Result<std::optional<OpenCluster>> open_cluster(OpenClusterTexts texts) {
  if (texts.join.empty()) texts.join = from_environment("GALLOCY_JOIN");
  if (texts.listen.empty()) texts.listen = from_environment("GALLOCY_LISTEN");
  if (texts.secret_file.empty()) texts.secret_file = from_environment("GALLOCY_SECRET_FILE");
  if (from_environment("GALLOCY_INSECURE_NETWORK") == "1") texts.insecure_network = true;
  if (texts.listen.empty() && texts.join.empty()) return std::nullopt;
  OpenCluster cluster;
  if (!texts.listen.empty()) {
    GALLOCY_ASSIGN(cluster.listen, parse_address("the address to listen on", texts.listen));
  }
  if (!texts.join.empty()) {
    GALLOCY_ASSIGN(cluster.contact, parse_address("the address of a member", texts.join));
    if (cluster.contact->port == 0)
      return fail(ErrorCode::kInvalidArgument, fmt::format("'{}' is no address of a member: port 0", texts.join));
  }
  if (texts.secret_file.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                "the cluster's secret is missing: say --secret-file or set GALLOCY_SECRET_FILE; a new one is made by "
                "(umask 077; openssl rand -hex 32 > FILE)");
  }
  GALLOCY_ASSIGN(cluster.secret, read_secret_file(texts.secret_file));
  GALLOCY_ASSIGN(const bool loopback, is_loopback(cluster.contact ? cluster.contact->host : cluster.listen.host));
  cluster.encrypt = !loopback && !texts.insecure_network;
  return cluster;
}

Result<PeerAddress> parse_address(std::string_view what, std::string_view text) {
  const auto colon = text.rfind(':');
  const std::string_view port = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  std::string_view host = text.substr(0, colon == std::string_view::npos ? 0 : colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  PeerAddress address{.host = std::string(host)};
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  const bool wrong_port = port.empty() || error != std::errc() || end != port.data() + port.size();
  if (wrong_port || host.empty() || host.size() > rendezvous::kMaxHostBytes ||
      host.find_first_of("[]") != std::string_view::npos || (!bracketed && host.find(':') != std::string_view::npos)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} is '{}', which is not of the form host:port or [address]:port", what, text));
  }
  return address;
}

std::string to_string(const PeerAddress& address) {
  const bool is_v6 = address.host.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", is_v6 ? "[" : "", address.host, is_v6 ? "]" : "", address.port);
}

Result<std::string> read_secret_file(const std::string& path) {
  const auto unreadable = [&] {
    return fail(errno == EACCES ? ErrorCode::kNotPermitted : ErrorCode::kNotFound,
                fmt::format("cannot read the secret file {}: {}", path, error_text(errno)));
  };
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0) return unreadable();
  if ((status.st_mode & 077) != 0) {
    return fail(ErrorCode::kNotPermitted, fmt::format("the secret file {} can be read by others: chmod 600 it", path));
  }
  char text[rendezvous::kMaxSecretBytes + 3];
  const ssize_t length = ::read(file.get(), text, sizeof text);
  if (length < 0) return unreadable();
  std::string secret(text, static_cast<std::size_t>(length));
  while (!secret.empty() && (secret.back() == '\n' || secret.back() == '\r')) secret.pop_back();
  if (secret.size() < rendezvous::kMinSecretBytes || secret.size() > rendezvous::kMaxSecretBytes) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("the secret in {} must have {} to {} bytes", path,
                                                         rendezvous::kMinSecretBytes, rendezvous::kMaxSecretBytes));
  }
  return secret;
}

}  // namespace gallocy::net
