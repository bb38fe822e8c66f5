#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "net/keep_alive.h"
#include "net/rendezvous.h"

namespace gallocy::net {

using rendezvous::Frame;
using rendezvous::FrameType;
using rendezvous::Hello;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

// Bound of a send to a launcher that does not read.
constexpr milliseconds kSendTimeout{2'000};
// The launcher's own timer names the missing first; the node's is the net under it.
constexpr milliseconds kJoinSlack{3'000};
// A launcher that strangers flood may take a node for one of them, before it has heard what it says.
constexpr int kDials = 5;
constexpr milliseconds kDialPause{50};

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

tl::unexpected<Error> launcher_gone() {
  return fail(ErrorCode::kPeerLost, "the launcher is gone: its connection to this node has ended");
}

constexpr const char* kNoLauncher = "the launcher does not accept this node (another version, or not a launcher)";

tl::unexpected<Error> refused(const LaunchDescription& description, std::string_view why) {
  return fail(ErrorCode::kNotPermitted, fmt::format("node {}: {}", description.node, why));
}

// Waits for `events` on fd; false at the deadline.
bool wait_for(int fd, short events, steady_clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
    if (left <= milliseconds::zero()) return false;
    pollfd waited{fd, events, 0};
    const int ready = ::poll(&waited, 1, static_cast<int>(left.count()));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return true;  // the call that follows reports it
  }
}

Result<int> connect_to(const std::string& host, std::uint16_t port, steady_clock::time_point deadline) {
  const auto unreachable = [&](const char* why) {
    return fail(ErrorCode::kUnreachable, fmt::format("cannot reach the launcher at {}:{}: {}", host, port, why));
  };
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const auto port_text = std::to_string(port);
  if (::getaddrinfo(host.c_str(), port_text.c_str(), &hints, &found) != 0) {
    hints.ai_flags = AI_NUMERICSERV;
    if (const int code = ::getaddrinfo(host.c_str(), port_text.c_str(), &hints, &found); code != 0) {
      return unreachable(::gai_strerror(code));
    }
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  const int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return unreachable(std::strerror(errno));
  int status = ::connect(fd, found->ai_addr, found->ai_addrlen) == 0 ? 0 : errno;
  if (status == EINPROGRESS) {
    socklen_t length = sizeof status;
    if (!wait_for(fd, POLLOUT, deadline)) {
      status = ETIMEDOUT;
    } else {
      ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &status, &length);
    }
  }
  if (status != 0) {
    ::close(fd);
    return unreachable(std::strerror(status));
  }
  return fd;
}

std::string local_host_of(int fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  char host[NI_MAXHOST] = "";
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0) {
    ::getnameinfo(reinterpret_cast<sockaddr*>(&address), length, host, sizeof host, nullptr, 0, NI_NUMERICHOST);
  }
  return host;
}

}  // namespace

LauncherLink::LauncherLink(int fd, const LaunchDescription& description)
    : fd_(fd),
      nodes_(description.nodes),
      join_timeout_(description.join_timeout),
      listen_host_(description.listen_host.empty() ? local_host_of(fd) : description.listen_host) {}

LauncherLink::~LauncherLink() {
  stop_watching();
  ::close(fd_);
}

Result<std::unique_ptr<LauncherLink>> LauncherLink::connect(const LaunchDescription& description) {
  const auto deadline = steady_clock::now() + description.join_timeout;
  for (int dials = 1;; ++dials) {
    GALLOCY_ASSIGN(const int fd, connect_to(description.launcher_host, description.launcher_port, deadline));
    keep_alive(fd);
    std::unique_ptr<LauncherLink> link(new LauncherLink(fd, description));
    const auto through = link->handshake(description, deadline);
    if (through) return link;
    if (through.error().code != ErrorCode::kPeerLost) return tl::unexpected(through.error());
    if (dials == kDials) return refused(description, kNoLauncher);
    std::this_thread::sleep_for(kDialPause * dials);
  }
}

// kPeerLost: the launcher has hung up without a word.
Result<> LauncherLink::handshake(const LaunchDescription& description, Deadline deadline) {
  const Hello hello{.node = description.node.value, .nodes = description.nodes, .nonce = random_nonce()};
  GALLOCY_TRY(send(FrameType::kHello, bytes_of(hello), deadline));
  const auto challenge = receive(deadline);
  if (!challenge && challenge.error().code == ErrorCode::kPeerLost) return tl::unexpected(challenge.error());
  if (!challenge || challenge->type != FrameType::kChallenge || challenge->body.size() != sizeof(Nonce)) {
    return refused(description, kNoLauncher);
  }
  Nonce nonce;
  std::memcpy(nonce.data(), challenge->body.data(), nonce.size());
  GALLOCY_TRY(send(FrameType::kProof, prove(description.secret, rendezvous::Side::kNode, hello, nonce), deadline));
  const auto welcome = receive(deadline);
  if (!welcome || welcome->type != FrameType::kWelcome) {
    return refused(description, "the launcher does not accept this node: wrong secret, or the node has come already");
  }
  const auto expected = prove(description.secret, rendezvous::Side::kLauncher, hello, nonce);
  if (!equal_macs(welcome->body, expected)) {
    return refused(description, "the launcher does not know the cluster secret");
  }
  in_.seal(description.secret, hello, nonce);
  out_.seal(description.secret, hello, nonce);
  return {};
}

Result<std::vector<PeerAddress>> LauncherLink::exchange(const PeerAddress& mine) {
  const auto deadline = steady_clock::now() + join_timeout_ + kJoinSlack;
  GALLOCY_TRY(send(FrameType::kAddress, rendezvous::encode_addresses({mine}), deadline));
  for (;;) {
    GALLOCY_ASSIGN(const auto frame, receive(deadline));
    if (frame.type == FrameType::kStatisticsWanted) continue;  // there are none yet
    if (frame.type == FrameType::kMissing) {
      GALLOCY_ASSIGN(const auto missing, rendezvous::decode_nodes(frame.body));
      return fail(ErrorCode::kTimeout, fmt::format("{} did not come within {} s", rendezvous::name_nodes(missing),
                                                   join_timeout_.count() / 1000));
    }
    if (frame.type != FrameType::kPeers) return fail(ErrorCode::kProtocol, "the launcher sent an unexpected frame");
    GALLOCY_ASSIGN(auto peers, rendezvous::decode_addresses(frame.body));
    if (peers.size() != nodes_) return fail(ErrorCode::kProtocol, "the launcher named a wrong number of nodes");
    return peers;
  }
}

void LauncherLink::watch(Watcher watcher) {
  CHECK(!watching_.joinable());
  stop_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  CHECK(stop_fd_ >= 0, errno);
  // The program's signals are for its own threads.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  watching_ = std::thread([this, watcher = std::move(watcher)] {
    for (;;) {
      pollfd waited[] = {{fd_, POLLIN, 0}, {stop_fd_, POLLIN, 0}};
      if (::poll(waited, 2, -1) < 0 && errno != EINTR) return;
      if (waited[1].revents != 0) return;
      if (waited[0].revents != 0 && !answer(watcher)) return;
    }
  });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

bool LauncherLink::answer(const Watcher& watcher) {
  for (;;) {
    const auto frame = receive_some();
    if (!frame) {
      if (watcher.launcher_gone) watcher.launcher_gone();
      return false;
    }
    if (!*frame) return true;
    if ((*frame)->type == FrameType::kStatisticsWanted && watcher.statistics) {
      (void)send_statistics(watcher.statistics());
    }
  }
}

void LauncherLink::stop_watching() {
  if (!watching_.joinable()) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(stop_fd_, &one, sizeof one);
  // A callback that ends the process runs exit handlers on the watching thread itself.
  if (watching_.get_id() == std::this_thread::get_id()) {
    watching_.detach();
  } else {
    watching_.join();
    ::close(stop_fd_);
  }
}

Result<> LauncherLink::send_statistics(std::string_view json) {
  if (json.size() > rendezvous::kMaxBodyBytes) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("statistics of {} bytes are too long", json.size()));
  }
  return send(FrameType::kStatistics, std::as_bytes(std::span(json)), steady_clock::now() + kSendTimeout);
}

void LauncherLink::report_lost(NodeId peer, std::string_view reason) {
  (void)send(FrameType::kPeerLost, rendezvous::encode_loss({peer, std::string(reason)}),
             steady_clock::now() + kSendTimeout);
}

Result<> LauncherLink::finished() {
  stop_watching();
  const auto deadline = steady_clock::now() + kSendTimeout;
  GALLOCY_TRY(send(FrameType::kFinished, {}, deadline));
  // Without the answer the launcher might see the end of the process before it has read this.
  for (;;) {
    GALLOCY_ASSIGN(const auto frame, receive(deadline));
    if (frame.type == FrameType::kFarewell) return {};
  }
}

Result<> LauncherLink::send(FrameType type, std::span<const std::byte> body, Deadline deadline) {
  const std::scoped_lock lock(send_mu_);
  wire::Bytes bytes;
  out_.encode(type, body, bytes);
  for (std::size_t done = 0; done < bytes.size();) {
    const auto sent = ::send(fd_, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
    if (sent > 0) {
      done += static_cast<std::size_t>(sent);
    } else if (errno == EAGAIN) {
      if (!wait_for(fd_, POLLOUT, deadline)) return fail(ErrorCode::kTimeout, "the launcher does not read");
    } else if (errno != EINTR) {
      return launcher_gone();
    }
  }
  return {};
}

Result<std::optional<Frame>> LauncherLink::receive_some() {
  for (;;) {
    GALLOCY_ASSIGN(auto frame, in_.next());
    if (frame) return frame;
    std::byte buffer[16 << 10];
    const auto got = ::recv(fd_, buffer, sizeof buffer, 0);
    if (got > 0) {
      in_.feed({buffer, static_cast<std::size_t>(got)});
    } else if (got < 0 && errno == EAGAIN) {
      return std::nullopt;
    } else if (got == 0 || errno != EINTR) {
      return launcher_gone();
    }
  }
}

Result<Frame> LauncherLink::receive(Deadline deadline) {
  for (;;) {
    GALLOCY_ASSIGN(auto frame, receive_some());
    if (frame) return std::move(*frame);
    if (!wait_for(fd_, POLLIN, deadline)) {
      return fail(ErrorCode::kTimeout, "the launcher did not answer in time");
    }
  }
}

}  // namespace gallocy::net
