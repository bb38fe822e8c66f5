// Rendezvous: the launcher's side of the launcher links (rendezvous_frames.h).
//
// It accepts connections, lets in those that prove to know the cluster secret, collects the nodes' addresses, sends
// everybody the list when all have come, and from then on passes on what nodes report. It has no policy: what the
// end of a node means is for the caller to say.
//
// Threads: one. fd() is readable when step() has something to do; step() must also be called at deadline().
//
// Invariants
// 1. Before a connection has proved the secret it is told 32 random bytes and nothing else, may send 64 bytes per
//    frame, is closed after kStrangerTimeout, and at most kMaxStrangers exist besides the nodes still to come: when
//    more come, those that have said nothing make room first, so that a flood keeps no node out.
// 2. A node id is let in at most once.
// 3. For one node: joined, then any of statistics and lost_peer, then finished (perhaps), then gone; nothing after it.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "net/mesh.h"
#include "net/rendezvous_frames.h"

namespace gallocy::net {

class RendezvousEvents {
 public:
  virtual ~RendezvousEvents() = default;
  virtual void node_joined(NodeId node) = 0;
  virtual void all_joined() = 0;
  virtual void node_statistics(NodeId node, std::string_view json) = 0;
  virtual void node_lost_peer(NodeId reporter, NodeId peer, std::string_view reason) = 0;
  virtual void node_finished(NodeId node) = 0;
  virtual void node_gone(NodeId node) = 0;  // the connection ended
  // At least one node has come and these have not, within the join timeout. Those that wait are told a second later.
  virtual void join_timed_out(const std::vector<NodeId>& missing) = 0;
  virtual void stranger_refused(std::string_view line) = 0;
};

struct RendezvousOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;  // 0: chosen by the kernel
  std::uint16_t nodes = 1;
  std::string secret;
  std::chrono::milliseconds join_timeout{30'000};
};

class Rendezvous {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::milliseconds kStrangerTimeout{5'000};
  static constexpr std::size_t kMaxStrangers = 64;
  // Refusals told one by one; after them only their number counts, so that a flood does not fill a log.
  static constexpr std::size_t kMaxRefusalLines = 20;

  static Result<std::unique_ptr<Rendezvous>> open(RendezvousOptions options, RendezvousEvents& events);
  ~Rendezvous();
  Rendezvous(const Rendezvous&) = delete;
  Rendezvous& operator=(const Rendezvous&) = delete;

  std::uint16_t port() const { return port_; }
  int fd() const { return epoll_fd_; }
  std::optional<TimePoint> deadline() const;
  void step();

  // Asks all nodes that are here; returns how many.
  std::size_t request_statistics();

 private:
  using Clock = std::chrono::steady_clock;
  enum class State : std::uint8_t { kHello, kProof, kIn };
  struct Connection {
    int fd = -1;
    State state = State::kHello;
    std::string peer;  // address, for refusals
    Clock::time_point since;
    std::uint64_t number = 0;  // in the order in which they came
    bool heard = false;        // has said something
    rendezvous::Hello hello;
    Nonce challenge{};
    rendezvous::SealedStream stream{rendezvous::Side::kLauncher};
    wire::Bytes out;
    bool asked = false;  // for statistics, and has not answered
    bool finished = false;
  };
  struct Member {
    Connection* connection = nullptr;
    std::optional<PeerAddress> address;
    bool came = false;
  };
  using Connections = std::map<int, std::unique_ptr<Connection>>;

  Rendezvous(RendezvousOptions options, RendezvousEvents& events, int listen_fd, std::uint16_t port);

  void accept_some();
  void read(Connection& connection);
  // False: the connection is closed.
  bool receive(Connection& connection, const rendezvous::Frame& frame);
  bool receive_hello(Connection& connection, const rendezvous::Frame& frame);
  bool receive_proof(Connection& connection, const rendezvous::Frame& frame);
  bool receive_from_node(Connection& connection, const rendezvous::Frame& frame);
  bool receive_address(Connection& connection, const rendezvous::Frame& frame);
  void send(Connection& connection, rendezvous::FrameType type, std::span<const std::byte> body);
  void flush(Connection& connection);
  bool refuse(Connection& connection, std::string_view why);
  void close(Connection& connection);
  void expire_strangers(Clock::time_point now);
  void expire_join(Clock::time_point now);
  void make_room();
  std::size_t strangers() const;
  std::vector<NodeId> missing() const;

  const RendezvousOptions options_;
  RendezvousEvents& events_;
  const int listen_fd_;
  const std::uint16_t port_;
  const int epoll_fd_;

  Connections connections_;  // by descriptor
  std::vector<Member> members_;
  std::size_t came_ = 0;  // nodes that were let in
  std::size_t addresses_known_ = 0;
  std::size_t inside_ = 0;  // connections in state kIn
  std::size_t refusals_ = 0;
  std::uint64_t accepted_ = 0;
  std::optional<Clock::time_point> join_deadline_;     // set by the first node, gone when all have come
  std::optional<Clock::time_point> missing_deadline_;  // when those that wait are told
};

}  // namespace gallocy::net
