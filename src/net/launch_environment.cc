// The environment of a launched instance, read and checked.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>

#include "net/rendezvous.h"

namespace gallocy::net {
namespace {

tl::unexpected<Error> bad(const char* name, std::string_view expected) {
  const char* value = std::getenv(name);
  return fail(ErrorCode::kInvalidArgument,
              value == nullptr
                  ? fmt::format("{} is not set, though GALLOCY_NODE is: start the program with `gallocy launch`", name)
                  : fmt::format("{}='{}' is wrong: expected {}", name, value, expected));
}

Result<std::uint64_t> number(const char* name, std::uint64_t lowest, std::uint64_t highest) {
  const std::string_view text = std::getenv(name) == nullptr ? "" : std::getenv(name);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value < lowest || value > highest) {
    return bad(name, fmt::format("a number from {} to {}", lowest, highest));
  }
  return value;
}

Result<std::size_t> choice(const char* name, std::initializer_list<std::string_view> names) {
  const std::string_view text = std::getenv(name) == nullptr ? "" : std::getenv(name);
  std::size_t index = 0;
  for (const auto candidate : names) {
    if (text == candidate) return index;
    ++index;
  }
  return bad(name, fmt::format("one of {}", fmt::join(names, ", ")));
}

Result<> read_launcher(LaunchDescription& description) {
  const char* name = "GALLOCY_LAUNCHER";
  const std::string_view text = std::getenv(name) == nullptr ? "" : std::getenv(name);
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return bad(name, "host:port");
  auto host = text.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  const auto port = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), description.launcher_port);
  if (error != std::errc() || end != port.data() + port.size() || description.launcher_port == 0 || host.empty()) {
    return bad(name, "host:port");
  }
  description.launcher_host = host;
  return {};
}

Result<std::string> read_secret() {
  GALLOCY_ASSIGN(const auto fd, number("GALLOCY_SECRET_FD", 3, 1 << 20));
  const auto not_here = [] {
    return fail(
        ErrorCode::kNotPermitted,
        "the cluster secret is not here (GALLOCY_SECRET_FD): only the program that `gallocy launch` started can "
        "join, not programs that it starts");
  };
  // Only the launcher's memory file has seals: any other descriptor of that number is not ours.
  if (::fcntl(static_cast<int>(fd), F_GET_SEALS) <= 0) return not_here();
  char text[rendezvous::kMaxSecretBytes + 1];
  const auto length = ::pread(static_cast<int>(fd), text, sizeof text, 0);
  if (length < static_cast<ssize_t>(rendezvous::kMinSecretBytes) ||
      length > static_cast<ssize_t>(rendezvous::kMaxSecretBytes)) {
    return not_here();
  }
  ::fcntl(static_cast<int>(fd), F_SETFD, FD_CLOEXEC);
  return std::string(text, static_cast<std::size_t>(length));
}

}  // namespace

Result<std::uint64_t> parse_memory_size(std::string_view text) {
  const auto wrong = [whole = text] {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("'{}' is not a memory size: expected a number with K, M, G or T, such as 512M or 4G", whole));
  };
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return wrong();
  auto unit = text.substr(static_cast<std::size_t>(end - text.data()));
  unsigned shift = 0;
  if (!unit.empty()) {
    const auto position = std::string_view("BKMGT").find(static_cast<char>(unit.front() & ~0x20));
    if (position == std::string_view::npos) return wrong();
    const auto rest = unit.substr(1);
    if (!rest.empty() && (position == 0 || (rest != "B" && rest != "iB"))) return wrong();
    shift = static_cast<unsigned>(10 * position);
  }
  if (value == 0 || value > (std::uint64_t{1} << 60) >> shift) return wrong();
  return value << shift;
}

Result<NodeSettings> settings_from_environment() {
  NodeSettings settings;
  if (const char* memory = std::getenv("GALLOCY_MEMORY"); memory != nullptr && *memory != '\0') {
    auto bytes = parse_memory_size(memory);
    if (!bytes) return fail(bytes.error().code, "GALLOCY_MEMORY: " + bytes.error().message);
    settings.memory_bytes = *bytes;
  }
  if (const char* engine = std::getenv("GALLOCY_FAULT_ENGINE")) settings.fault_engine = engine;
  if (const char* policy = std::getenv("GALLOCY_ON_PEER_LOST"); policy != nullptr && *policy != '\0') {
    GALLOCY_ASSIGN(const auto index, choice("GALLOCY_ON_PEER_LOST", {"end", "continue"}));
    settings.on_peer_lost = index == 0 ? OnPeerLost::kEnd : OnPeerLost::kContinue;
  }
  return settings;
}

Result<std::optional<LaunchDescription>> launch_from_environment() {
  if (std::getenv("GALLOCY_NODE") == nullptr) return std::nullopt;
  LaunchDescription description;
  GALLOCY_ASSIGN(const auto nodes, number("GALLOCY_NODES", 1, kMaxNodes));
  description.nodes = static_cast<std::uint16_t>(nodes);
  GALLOCY_ASSIGN(const auto node, number("GALLOCY_NODE", 0, nodes - 1));
  description.node = NodeId{static_cast<std::uint16_t>(node)};
  GALLOCY_ASSIGN(const auto local_nodes, number("GALLOCY_LOCAL_NODES", 1, nodes));
  description.local_nodes = static_cast<std::uint16_t>(local_nodes);
  GALLOCY_ASSIGN(const auto local_index, number("GALLOCY_LOCAL_INDEX", 0, local_nodes - 1));
  description.local_index = static_cast<std::uint16_t>(local_index);
  GALLOCY_TRY(read_launcher(description));
  GALLOCY_ASSIGN(const auto transport, choice("GALLOCY_TRANSPORT", {"tcp", "shm"}));
  description.transport = transport == 0 ? LinkKind::kTcp : LinkKind::kShm;
  GALLOCY_ASSIGN(const auto encrypt, number("GALLOCY_ENCRYPT", 0, 1));
  description.encrypt = encrypt == 1;
  if (const char* host = std::getenv("GALLOCY_LISTEN_HOST")) description.listen_host = host;
  if (description.listen_host.size() > rendezvous::kMaxHostBytes) return bad("GALLOCY_LISTEN_HOST", "a host name");
  GALLOCY_ASSIGN(const auto timeout, number("GALLOCY_JOIN_TIMEOUT", 1, 3600));
  description.join_timeout = std::chrono::seconds(timeout);
  GALLOCY_ASSIGN(description.secret, read_secret());
  return description;
}

}  // namespace gallocy::net
