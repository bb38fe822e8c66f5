#include "net/connector.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "base/log.h"
#include "net/rendezvous_frames.h"

namespace gallocy::net {
namespace {

using std::chrono::milliseconds;

// An accepted connection must say all it has to within this time.
constexpr milliseconds kAcceptedTimeout{2'000};
// Accepted connections whose handshake is not over. Those of the cluster take well under a millisecond each.
constexpr std::size_t kMaxPending = 64;
constexpr int kMaxAcceptsAtOnce = 16;
// A flood shall not fill the disk with log lines.
constexpr std::size_t kMaxRefusalLines = 100;
constexpr milliseconds kFirstRetry{1}, kLastRetry{50};

}  // namespace

Connector::Connector(const MeshOptions& options, int listener, int doorbell, const TlsContext* tls)
    : options_(options),
      listener_(listener),
      setting_{.identity = {.self = options.self,
                            .nodes = options.nodes,
                            .links = options.links,
                            .secret = options.secret,
                            .build_id = options.build_id},
               .tls = tls,
               .doorbell = doorbell,
               .peer_timeout = options.peer_timeout},
      connections_(options.nodes),
      missing_(options.nodes - 1u) {}

Result<std::vector<Connection>> Connector::connect_all(const std::vector<PeerAddress>& addresses) {
  deadline_ = Clock::now() + options_.connect_timeout;
  GALLOCY_TRY(find_addresses(addresses));
  while (missing_ > 0) {
    if (Clock::now() >= deadline_) return missing_nodes();
    start_dials();
    wait_for_events();
    GALLOCY_TRY(step_attempts());
    accept_some();
  }
  std::vector<Connection> all;
  for (auto& connection : connections_)
    if (connection) all.push_back(std::move(*connection));
  return all;
}

Result<> Connector::find_addresses(const std::vector<PeerAddress>& addresses) {
  CHECK(addresses.size() == options_.nodes, addresses.size(), options_.nodes);
  for (std::uint16_t id = 0; id < options_.self.value; ++id) {
    Dial& dial = dials_.emplace_back();
    dial.peer = NodeId{id};
    dial.address = addresses[id];
    if (options_.links == LinkKind::kShm) {
      dial.candidates.push_back(unix_address(dial.address.port));
      continue;
    }
    auto candidates = resolve(dial.address.host, dial.address.port);
    if (!candidates) return fail(candidates.error().code, fmt::format("node {}: {}", id, candidates.error().message));
    dial.candidates = std::move(*candidates);
  }
  return {};
}

void Connector::start_dials() {
  const auto now = Clock::now();
  for (Dial& dial : dials_) {
    if (dial.is_running || connections_[dial.peer.value] || now < dial.next_try) continue;
    const auto& candidate = dial.candidates[dial.tries++ % dial.candidates.size()];
    const milliseconds pause = std::min(kLastRetry, kFirstRetry * (1 << std::min<std::size_t>(dial.tries, 10)));
    dial.next_try = now + pause;
    Fd socket;
    if (const int error = start_connect(candidate, socket); error != 0) {
      dial.last_error = {ErrorCode::kUnreachable, error_text(error)};
      continue;
    }
    dial.is_running = true;
    dial.last_error = {ErrorCode::kUnreachable, "no answer"};
    attempts_.push_back(std::make_unique<Attempt>(setting_, std::move(socket), deadline_, dial.peer));
  }
}

// Sleeps until a socket is ready or something is due.
void Connector::wait_for_events() {
  auto until = deadline_;
  for (const Dial& dial : dials_)
    if (!dial.is_running && !connections_[dial.peer.value]) until = std::min(until, dial.next_try);
  polled_.assign(1, {.fd = listener_, .events = POLLIN, .revents = 0});
  for (const auto& attempt : attempts_) {
    until = std::min(until, attempt->deadline());
    polled_.push_back({.fd = attempt->socket(), .events = attempt->events(), .revents = 0});
  }
  const auto pause = std::chrono::ceil<milliseconds>(until - Clock::now());
  const int ready = ::poll(polled_.data(), polled_.size(), std::max(0, static_cast<int>(pause.count())));
  CHECK(ready >= 0 || errno == EINTR, errno);
}

Result<> Connector::step_attempts() {
  for (std::size_t i = 0; i + 1 < polled_.size(); ++i) {
    auto& attempt = attempts_[i];
    if (polled_[i + 1].revents != 0) {
      GALLOCY_TRY(step(*attempt));
      if (attempt->state() != Attempt::State::kRunning) attempt.reset();
    } else if (Clock::now() >= attempt->deadline() && !attempt->dialed()) {
      refuse(*attempt, "did not finish the handshake in time");
      attempt.reset();
    }
  }
  std::erase(attempts_, nullptr);
  return {};
}

Result<> Connector::step(Attempt& attempt) {
  switch (attempt.step()) {
    case Attempt::State::kRunning:
      break;
    case Attempt::State::kDone:
      connected(attempt);
      break;
    case Attempt::State::kFailed:
      if (attempt.dialed()) return dial_failed(attempt);
      refuse(attempt, attempt.error().message);
      break;
  }
  return {};
}

void Connector::connected(Attempt& attempt) {
  auto& connection = connections_[attempt.peer().value];
  if (connection) return refuse(attempt, "this node id has a connection already");
  connection = attempt.take_connection();
  --missing_;
}

Result<> Connector::dial_failed(const Attempt& attempt) {
  Dial& dial = dials_[attempt.peer().value];
  dial.is_running = false;
  dial.last_error = attempt.error();
  if (attempt.may_pass()) return {};
  return fail(attempt.error().code, fmt::format("{} {}", name_of(dial), attempt.error().message));
}

void Connector::accept_some() {
  if (polled_.front().revents == 0) return;
  for (int i = 0; i < kMaxAcceptsAtOnce; ++i) {
    Fd socket(::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket) {
      // Out of descriptors: the longest silent connection gives its own up, else the listener stays ready for ever.
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) make_room();
      return;
    }
    const auto pending = std::ranges::count_if(attempts_, [](const auto& attempt) { return !attempt->dialed(); });
    if (static_cast<std::size_t>(pending) >= kMaxPending) make_room();
    auto deadline = std::min(deadline_, Clock::now() + kAcceptedTimeout);
    attempts_.push_back(std::make_unique<Attempt>(
        setting_, std::move(socket), deadline, [this](NodeId peer) { return connections_[peer.value].has_value(); }));
  }
}

// Drops the accepted connection that has been silent longest, or the oldest if all have spoken.
void Connector::make_room() {
  auto victim = std::ranges::find_if(attempts_, [](const auto& a) { return !a->dialed() && a->is_silent(); });
  if (victim == attempts_.end()) victim = std::ranges::find_if(attempts_, [](const auto& a) { return !a->dialed(); });
  if (victim == attempts_.end()) return;
  refuse(**victim, "too many connections at once");
  attempts_.erase(victim);
}

void Connector::refuse(const Attempt& attempt, std::string_view reason) {
  if (attempt.peer() != kNoNode) last_refusal_[attempt.peer()] = fmt::format("one from {} {}", attempt.from(), reason);
  if (++refusals_ > kMaxRefusalLines) return;
  log_event(LogLevel::kWarn, "connection_refused", "node", options_.self, "from", attempt.from(), "reason", reason);
  if (refusals_ == kMaxRefusalLines)
    log_event(LogLevel::kWarn, "connections_refused", "node", options_.self, "note", "further ones are not logged");
}

std::string Connector::name_of(const Dial& dial) const {
  if (options_.links == LinkKind::kShm) return fmt::format("node {} (shm {})", dial.peer, dial.address.port);
  return fmt::format("node {} at {}:{}", dial.peer, dial.address.host, dial.address.port);
}

tl::unexpected<Error> Connector::missing_nodes() const {
  std::vector<NodeId> missing;
  for (std::uint16_t id = 0; id < options_.nodes; ++id)
    if (id != options_.self.value && !connections_[id]) missing.push_back(NodeId{id});
  const auto seconds = std::chrono::duration<double>(options_.connect_timeout).count();
  const auto others = missing.size() > 1 ? fmt::format("; missing: {}", rendezvous::name_nodes(missing)) : "";
  const NodeId first = missing.front();
  if (first < options_.self) {
    const Dial& dial = dials_[first.value];
    return fail(dial.last_error.code, fmt::format("{} cannot be reached within {} s: {}; is it running, and may this "
                                                  "machine connect to that port?{}",
                                                  name_of(dial), seconds, dial.last_error.message, others));
  }
  const auto refused = last_refusal_.find(first);
  return fail(ErrorCode::kTimeout,
              fmt::format("node {} did not connect to node {} within {} s{}{}; is it running, and can it reach port {} "
                          "of {}?",
                          first, options_.self, seconds,
                          refused == last_refusal_.end() ? "" : fmt::format(" ({})", refused->second), others,
                          options_.listen_port, options_.listen_host));
}

}  // namespace gallocy::net
