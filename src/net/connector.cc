#include "net/connector.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "net/rendezvous_frames.h"

namespace gallocy::net {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstRetry{1}, kLastRetry{50};

}  // namespace

Connector::Connector(const MeshOptions& options, int listener, int doorbell, const TlsContext* tls)
    : options_(options),
      setting_(attempt_setting(options, doorbell, tls)),
      reception_(setting_, listener, [this](NodeId peer) { return !is_missing(peer); }) {}

Result<std::vector<Connection>> Connector::connect_all(const std::vector<Peer>& others) {
  deadline_ = Clock::now() + options_.connect_timeout;
  GALLOCY_TRY(find_addresses(others));
  while (connections_.size() < others.size()) {
    if (Clock::now() >= deadline_) return missing_nodes();
    start_dials();
    wait_for_events();
    GALLOCY_TRY(step_dials());
    let_in();
  }
  std::vector<Connection> all;
  for (auto& [peer, connection] : connections_) all.push_back(std::move(connection));
  return all;
}

Result<> Connector::find_addresses(const std::vector<Peer>& others) {
  for (const Peer& peer : others) {
    if (peer.node > options_.self) {
      awaited_.push_back(peer.node);
      continue;
    }
    Dial& dial = dials_.emplace_back(Dial{.peer = peer});
    if (options_.links == LinkKind::kShm) {
      dial.candidates.push_back(unix_address(peer.address.port));
      continue;
    }
    auto candidates = resolve(peer.address.host, peer.address.port);
    if (!candidates)
      return fail(candidates.error().code, fmt::format("node {}: {}", peer.node, candidates.error().message));
    dial.candidates = std::move(*candidates);
  }
  return {};
}

void Connector::start_dials() {
  const auto now = Clock::now();
  for (Dial& dial : dials_) {
    if (dial.attempt || !is_missing(dial.peer.node) || now < dial.next_try) continue;
    const auto& candidate = dial.candidates[dial.tries++ % dial.candidates.size()];
    const milliseconds pause = std::min(kLastRetry, kFirstRetry * (1 << std::min<std::size_t>(dial.tries, 10)));
    dial.next_try = now + pause;
    Fd socket;
    if (const int error = start_connect(candidate, socket); error != 0) {
      dial.last_error = {ErrorCode::kUnreachable, error_text(error)};
      continue;
    }
    dial.last_error = {ErrorCode::kUnreachable, "no answer"};
    dial.attempt = std::make_unique<Attempt>(setting_, std::move(socket), deadline_, dial.peer.node);
  }
}

// Sleeps until a socket is ready or something is due.
void Connector::wait_for_events() {
  auto until = deadline_;
  polled_.clear();
  for (const Dial& dial : dials_) {
    if (!dial.attempt && is_missing(dial.peer.node)) until = std::min(until, dial.next_try);
    polled_.push_back({.fd = dial.attempt ? dial.attempt->socket() : -1,
                       .events = dial.attempt ? dial.attempt->events() : short{0},
                       .revents = 0});
  }
  reception_.watch(polled_, until);
  const auto pause = std::chrono::ceil<milliseconds>(until - Clock::now());
  const int ready = ::poll(polled_.data(), polled_.size(), std::max(0, static_cast<int>(pause.count())));
  CHECK(ready >= 0 || errno == EINTR, errno);
}

Result<> Connector::step_dials() {
  for (std::size_t i = 0; i < dials_.size(); ++i) {
    if (polled_[i].revents != 0) GALLOCY_TRY(step(dials_[i]));
  }
  return {};
}

Result<> Connector::step(Dial& dial) {
  const Attempt::State state = dial.attempt->step();
  if (state == Attempt::State::kRunning) return {};
  const auto attempt = std::move(dial.attempt);
  if (state == Attempt::State::kDone) {
    connections_.emplace(dial.peer.node, attempt->take_connection());
    return {};
  }
  dial.last_error = attempt->error();
  if (attempt->may_pass()) return {};
  return fail(attempt->error().code, fmt::format("{} {}", name_of(dial), attempt->error().message));
}

void Connector::let_in() {
  for (Connection& connection : reception_.serve(std::span(polled_).subspan(dials_.size()))) {
    const NodeId peer = connection.peer;
    if (is_missing(peer)) {
      connections_.emplace(peer, std::move(connection));
    } else {
      reception_.refuse(peer, peer_name(connection.socket.get()), "this node id has a connection already");
    }
  }
}

std::string Connector::name_of(const Dial& dial) const {
  const Peer& peer = dial.peer;
  if (options_.links == LinkKind::kShm) return fmt::format("node {} (shm {})", peer.node, peer.address.port);
  return fmt::format("node {} at {}:{}", peer.node, peer.address.host, peer.address.port);
}

tl::unexpected<Error> Connector::missing_nodes() const {
  std::vector<NodeId> missing;
  for (const Dial& dial : dials_) {
    if (is_missing(dial.peer.node)) missing.push_back(dial.peer.node);
  }
  for (const NodeId node : awaited_) {
    if (is_missing(node)) missing.push_back(node);
  }
  const auto seconds = std::chrono::duration<double>(options_.connect_timeout).count();
  const auto others = missing.size() > 1 ? fmt::format("; missing: {}", rendezvous::name_nodes(missing)) : "";
  const NodeId first = missing.front();
  const auto dial = std::ranges::find(dials_, first, [](const Dial& d) { return d.peer.node; });
  if (dial != dials_.end()) {
    return fail(dial->last_error.code, fmt::format("{} cannot be reached within {} s: {}; is it running, and may this "
                                                   "machine connect to that port?{}",
                                                   name_of(*dial), seconds, dial->last_error.message, others));
  }
  const std::string refusal = reception_.last_refusal(first);
  return fail(ErrorCode::kTimeout,
              fmt::format("node {} did not connect to node {} within {} s{}{}; is it running, and can it reach port {} "
                          "of {}?",
                          first, options_.self, seconds, refusal.empty() ? "" : fmt::format(" ({})", refusal), others,
                          options_.listen_port, options_.listen_host));
}

}  // namespace gallocy::net
