// Those who attack a cluster from outside, for tests. A Stranger is a connection that says what it likes. A Relay
// stands between two others, hears what they say and may change it. An Impostor knows the secret and is let in as a
// node, and then breaks the rules.
//
// Their sockets are of the network namespace of the thread that makes them.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "net/visit.h"
#include "process.h"
#include "vmm/admission.h"
#include "wire/frame.h"

namespace gallocy::testing {

class Stranger {
 public:
  explicit Stranger(const net::PeerAddress& to);

  // False: it was cut off.
  bool say(std::string_view bytes);
  // What has come so far; never waits.
  const std::string& heard();
  bool is_cut_off() { return heard(), cut_off_; }

 private:
  net::Fd socket_;
  std::string heard_;
  bool cut_off_ = false;
};

// Takes one connection. Both ends see its end when one of them closes.
class Relay {
 public:
  using Change = std::function<std::string(std::string)>;

  Relay(const std::string& host, net::PeerAddress to);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  net::PeerAddress address() const;
  // From now on what the dialer says arrives like this.
  void set_change(Change change);
  // So far.
  std::string said_by_dialer() const { return text_of(up_); }
  std::string said_by_acceptor() const { return text_of(down_); }
  // Says it to the acceptor, as if it came from the dialer.
  void say(std::string bytes);

 private:
  void run();
  bool pass_on(int from, int to, std::string& heard, bool is_up);
  std::string text_of(const std::string& heard) const;

  const std::string host_;
  const net::PeerAddress to_;
  net::Fd listener_;
  std::atomic<bool> stop_{false};
  mutable std::mutex mu_;
  // Guarded by mu_.
  Change change_;
  std::string up_, down_, to_say_;
  std::thread thread_;
};

class Impostor {
 public:
  struct Cluster {
    std::string secret;
    bool encrypt = false;
    net::PeerAddress contact;
  };
  explicit Impostor(Cluster cluster);

  // Asks to be a node; its number.
  Result<NodeId> join();
  // After join(), or in the name of another.
  void take_number(NodeId self) { self_ = self; }
  const std::vector<vmm::Peer>& peers() const { return peers_; }
  // A connection to that member, at its address or another one.
  Result<> dial(NodeId member, const net::PeerAddress& address);
  Result<> dial_all();
  // Hangs up on the contact, who takes this for its death if the others have not yet.
  void drop_visit() { visit_.reset(); }

  // To all that were dialed.
  void say(const wire::FrameHeader& header, std::string_view body = {});
  void say(std::string_view bytes);
  void hang_up() { links_.clear(); }
  // Whether each of those that were dialed has ended the connection; never waits.
  bool is_parted_with();
  // Frames of that type that have come from any member, by now.
  std::size_t heard(wire::MessageType type);

 private:
  struct Heard;
  struct Channel {
    net::Connection connection;
    bool ended = false;
    std::string unread;
    std::map<std::uint16_t, std::size_t> frames;  // by type
  };
  void listen(Channel& channel);

  const Cluster cluster_;
  std::unique_ptr<net::TlsContext> tls_;
  std::unique_ptr<net::Visit> visit_;
  NodeId self_ = kNoNode;
  std::vector<vmm::Peer> peers_;
  std::vector<Channel> links_;
};

}  // namespace gallocy::testing
