// Reception: takes those who connect to this node's listening socket through the handshake, without ever waiting: its
// owner polls and calls serve().
//
// Whoever does not belong here is refused with one log line, of which there are at most so many a minute, and takes
// nothing from those who do: every connection has a deadline, and when too many are pending, those that have not said a
// word go first.
//
// Threads: one.
#pragma once

#include <poll.h>

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bounded_event.h"
#include "net/attempt.h"
#include "net/socket.h"

namespace gallocy::net {

class Reception {
 public:
  using Clock = Attempt::Clock;

  // `listener` and `setting` are borrowed.
  Reception(const Attempt::Setting& setting, int listener, Handshake::IsConnected is_connected);

  // What to poll for; `until` becomes no later than the next deadline.
  void watch(std::vector<pollfd>& polled, Clock::time_point& until) const;
  // After poll(2), with what watch() added: does what can be done now. Returns those who are through.
  std::vector<Connection> serve(std::span<const pollfd> polled);

  void refuse(NodeId claimed, std::string_view from, std::string_view reason);
  // Why the last one was refused that said it was this node; empty: there was none.
  std::string last_refusal(NodeId claimed) const;

 private:
  void accept_some();
  void make_room();
  void step_all(std::span<const pollfd> polled, std::vector<Connection>& through);

  const Attempt::Setting& setting_;
  const int listener_;
  const Handshake::IsConnected is_connected_;
  std::vector<std::unique_ptr<Attempt>> attempts_;
  BoundedEvent refused_{LogLevel::kWarn, "connection_refused"};
  std::map<NodeId, std::string> last_refusal_;
};

}  // namespace gallocy::net
