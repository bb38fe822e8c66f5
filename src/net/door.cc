#include "net/door.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"

namespace gallocy::net {
namespace {

// How often guests that have gone are looked for.
constexpr std::chrono::milliseconds kLongestNap{1'000};

}  // namespace

Door::Door(const MeshOptions& options, int listener, const TlsContext* tls, Host host)
    : options_(options),
      setting_(attempt_setting(options_, -1, tls)),
      host_(std::move(host)),
      reception_(setting_, listener, host_.is_connected),
      stop_event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  CHECK(stop_event_, errno);
  thread_ = std::thread([this] { run(); });
}

Door::~Door() {
  ::eventfd_write(stop_event_.get(), 1);
  thread_.join();
}

void Door::run() {
  std::vector<pollfd> polled;
  for (;;) {
    polled.assign(1, {.fd = stop_event_.get(), .events = POLLIN, .revents = 0});
    auto until = Attempt::Clock::now() + kLongestNap;
    reception_.watch(polled, until);
    const auto pause = std::chrono::ceil<std::chrono::milliseconds>(until - Attempt::Clock::now());
    const int ready = ::poll(polled.data(), polled.size(), std::max(0, static_cast<int>(pause.count())));
    CHECK(ready >= 0 || errno == EINTR, errno);
    if (polled.front().revents != 0) break;
    for (Connection& connection : reception_.serve(std::span(polled).subspan(1))) {
      if (connection.peer == kNoNode) {
        show_in(std::move(connection));
      } else if (host_.is_connected(connection.peer)) {
        reception_.refuse(connection.peer, peer_name(connection.socket.get()), "this node id has a connection already");
      } else {
        host_.take_in(std::move(connection));
      }
    }
    see_off();
  }
  for (Guest& guest : guests_) guest.visit.end();
  for (Guest& guest : guests_) guest.thread.join();
}

void Door::show_in(Connection connection) {
  if (guests_.size() >= kMaxGuests) {
    return reception_.refuse(kNoNode, peer_name(connection.socket.get()), "too many visitors at once");
  }
  Guest& guest = guests_.emplace_back(std::move(connection));
  guest.thread = std::thread([this, &guest] {
    host_.receive(guest.visit);
    guest.has_gone = true;
  });
}

void Door::see_off() {
  std::erase_if(guests_, [](Guest& guest) {
    if (!guest.has_gone) return false;
    guest.thread.join();
    return true;
  });
}

}  // namespace gallocy::net
