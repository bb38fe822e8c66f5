#include "net/visit.h"

#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <thread>

#include "base/check.h"
#include "base/ids.h"

namespace gallocy::net {
namespace {

using std::chrono::milliseconds;
using Clock = Visit::Clock;

constexpr milliseconds kFirstRetry{5}, kLastRetry{200};
// What is said leaves within this time, or the other side is as good as gone.
constexpr milliseconds kSayTimeout{10'000};

int poll_ms(Clock::time_point deadline) {
  constexpr std::int64_t kLongestMs = 60'000;
  const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, kLongestMs));
}

// One attempt, to its end.
Result<Connection> connect_once(const Attempt::Setting& setting, const SocketAddress& to, Clock::time_point deadline,
                                bool& may_pass) {
  may_pass = true;
  Fd socket;
  if (const int error = start_connect(to, socket); error != 0) return fail(ErrorCode::kUnreachable, error_text(error));
  Attempt attempt(setting, std::move(socket), deadline, kNoNode);
  while (attempt.state() == Attempt::State::kRunning) {
    pollfd polled{.fd = attempt.socket(), .events = attempt.events(), .revents = 0};
    const int ready = ::poll(&polled, 1, poll_ms(deadline));
    if (ready == 0 && Clock::now() >= deadline) return fail(ErrorCode::kTimeout, "no answer");
    if (ready > 0) attempt.step();
  }
  if (attempt.state() == Attempt::State::kDone) return attempt.take_connection();
  may_pass = attempt.may_pass();
  return tl::unexpected(attempt.error());
}

}  // namespace

Result<std::unique_ptr<Visit>> Visit::pay(const PeerAddress& member, const Options& options) {
  const MeshOptions who{.self = kNoNode,
                        .nodes = kMaxNodes,
                        .membership = Membership::kOpen,
                        .secret = options.secret,
                        .encrypt = options.encrypt};
  std::unique_ptr<TlsContext> tls;
  if (options.encrypt) {
    GALLOCY_ASSIGN(tls, TlsContext::create(options.secret));
  }
  const Attempt::Setting setting = attempt_setting(who, -1, tls.get());
  const auto deadline = Clock::now() + options.timeout;
  GALLOCY_ASSIGN(const auto candidates, resolve(member.host, member.port));
  for (std::size_t tries = 0;; ++tries) {
    bool may_pass = true;
    auto connection = connect_once(setting, candidates[tries % candidates.size()], deadline, may_pass);
    if (connection) return std::make_unique<Visit>(std::move(*connection), std::move(tls));
    if (!may_pass || Clock::now() >= deadline) {
      const Error& why = connection.error();
      return fail(why.code, fmt::format("the node at {}:{} {}{}", member.host, member.port,
                                        may_pass ? "cannot be reached: " : "", why.message));
    }
    const milliseconds pause = std::min(kLastRetry, kFirstRetry * (1 << std::min<std::size_t>(tries, 6)));
    std::this_thread::sleep_until(std::min(Clock::now() + pause, deadline));
  }
}

Result<> Visit::wait_for(short events, Clock::time_point deadline) {
  pollfd polled{.fd = connection_.socket.get(), .events = events, .revents = 0};
  while (::poll(&polled, 1, poll_ms(deadline)) <= 0) {
    if (Clock::now() >= deadline) return fail(ErrorCode::kTimeout, "there was no answer in time");
  }
  return {};
}

Result<> Visit::drain(std::span<const std::byte> bytes, Clock::time_point deadline) {
  while (!bytes.empty()) {
    Transfer sent;
    if (connection_.tls) {
      const iovec piece{const_cast<std::byte*>(bytes.data()), bytes.size()};
      sent = connection_.tls->write({&piece, 1});
    } else {
      const ssize_t got = ::send(connection_.socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (got >= 0) sent.bytes = static_cast<std::size_t>(got);
      if (got < 0 && errno != EAGAIN && errno != EINTR) sent.ended = error_text(errno);
    }
    if (sent.ended) return fail(ErrorCode::kPeerLost, sent.ended);
    bytes = bytes.subspan(sent.bytes);
    if (sent.bytes == 0) GALLOCY_TRY(wait_for(POLLOUT, deadline));
  }
  return {};
}

Result<> Visit::fill(std::span<std::byte> bytes, Clock::time_point deadline) {
  while (!bytes.empty()) {
    Transfer got;
    if (connection_.tls) {
      const iovec piece{bytes.data(), bytes.size()};
      got = connection_.tls->read({&piece, 1});
    } else {
      const ssize_t count = ::recv(connection_.socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (count > 0) got.bytes = static_cast<std::size_t>(count);
      if (count == 0) got.ended = "closed the connection";
      if (count < 0 && errno != EAGAIN && errno != EINTR) got.ended = error_text(errno);
    }
    if (got.ended) return fail(ErrorCode::kPeerLost, got.ended);
    bytes = bytes.subspan(got.bytes);
    if (got.bytes == 0) GALLOCY_TRY(wait_for(POLLIN, deadline));
  }
  return {};
}

Result<> Visit::say(const Message& message) {
  CHECK(message.body.size() <= wire::kMaxVisitBytes, message.body.size());
  const wire::VisitHeader header{.type = static_cast<std::uint16_t>(message.type),
                                 .body_bytes = static_cast<std::uint32_t>(message.body.size())};
  wire::Bytes bytes;
  wire::ByteWriter writer(bytes);
  writer.put(header);
  writer.put_bytes(message.body);
  return drain(bytes, Clock::now() + kSayTimeout);
}

Result<Visit::Message> Visit::hear(Clock::time_point deadline) {
  wire::VisitHeader header;
  GALLOCY_TRY(fill(std::as_writable_bytes(std::span(&header, 1)), deadline));
  if (header.reserved != 0 || header.body_bytes > wire::kMaxVisitBytes)
    return fail(ErrorCode::kProtocol, "broke the protocol of visits");
  Message message{.type = static_cast<wire::VisitType>(header.type), .body = wire::Bytes(header.body_bytes)};
  GALLOCY_TRY(fill(message.body, deadline));
  return message;
}

void Visit::end() { ::shutdown(connection_.socket.get(), SHUT_RDWR); }

std::string Visit::local_host() const { return gallocy::net::local_host(connection_.socket.get()); }
std::string Visit::from() const { return peer_name(connection_.socket.get()); }

}  // namespace gallocy::net
