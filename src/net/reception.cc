#include "net/reception.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "os/clock.h"

namespace gallocy::net {
namespace {

using std::chrono::milliseconds;

// An accepted connection must say all it has to within this time.
constexpr milliseconds kAcceptedTimeout{2'000};
// Accepted connections whose handshake is not over. Those of the cluster take well under a millisecond each.
constexpr std::size_t kMaxPending = 64;
constexpr int kMaxAcceptsAtOnce = 16;

}  // namespace

Reception::Reception(const Attempt::Setting& setting, int listener, Handshake::IsConnected is_connected)
    : setting_(setting), listener_(listener), is_connected_(std::move(is_connected)) {}

void Reception::watch(std::vector<pollfd>& polled, Clock::time_point& until) const {
  polled.push_back({.fd = listener_, .events = POLLIN, .revents = 0});
  for (const auto& attempt : attempts_) {
    until = std::min(until, attempt->deadline());
    polled.push_back({.fd = attempt->socket(), .events = attempt->events(), .revents = 0});
  }
}

std::vector<Connection> Reception::serve(std::span<const pollfd> polled) {
  std::vector<Connection> through;
  step_all(polled.subspan(1), through);
  if (polled.front().revents != 0) accept_some();
  return through;
}

void Reception::step_all(std::span<const pollfd> polled, std::vector<Connection>& through) {
  for (std::size_t i = 0; i < polled.size(); ++i) {
    auto& attempt = attempts_[i];
    if (polled[i].revents != 0) {
      const Attempt::State state = attempt->step();
      if (state == Attempt::State::kRunning) continue;
      if (state == Attempt::State::kDone) through.push_back(attempt->take_connection());
      if (state == Attempt::State::kFailed) refuse(attempt->peer(), attempt->from(), attempt->error().message);
    } else if (Clock::now() >= attempt->deadline()) {
      refuse(attempt->peer(), attempt->from(), "did not finish the handshake in time");
    } else {
      continue;
    }
    attempt.reset();
  }
  std::erase(attempts_, nullptr);
}

void Reception::accept_some() {
  for (int i = 0; i < kMaxAcceptsAtOnce; ++i) {
    Fd socket(::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket) {
      // Out of descriptors: the longest silent connection gives its own up, else the listener stays ready for ever.
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) make_room();
      return;
    }
    if (attempts_.size() >= kMaxPending) make_room();
    attempts_.push_back(
        std::make_unique<Attempt>(setting_, std::move(socket), Clock::now() + kAcceptedTimeout, is_connected_));
  }
}

// Drops the connection that has been silent longest, or the oldest if all have spoken.
void Reception::make_room() {
  if (attempts_.empty()) return;
  auto victim = std::ranges::find_if(attempts_, [](const auto& a) { return a->is_silent(); });
  if (victim == attempts_.end()) victim = attempts_.begin();
  refuse((*victim)->peer(), (*victim)->from(), "too many connections at once");
  attempts_.erase(victim);
}

// Whoever says that it is a node may say it of any number: only those that there are are remembered.
void Reception::refuse(NodeId claimed, std::string_view from, std::string_view reason) {
  const Handshake::Identity& self = setting_.identity;
  if (claimed.value < self.nodes) last_refusal_[claimed] = fmt::format("one from {} {}", from, reason);
  refused_.log(os::monotonic_ns(), "node", self.self, "from", from, "reason", reason);
}

std::string Reception::last_refusal(NodeId claimed) const {
  const auto found = last_refusal_.find(claimed);
  return found == last_refusal_.end() ? "" : found->second;
}

}  // namespace gallocy::net
