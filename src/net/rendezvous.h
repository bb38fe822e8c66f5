// How the instances of one program find each other: the launcher's description of the cluster, and a node's link to it.
//
// `gallocy launch` gives each instance, in its environment:
//
//   GALLOCY_NODE, GALLOCY_NODES      which node this is, of how many
//   GALLOCY_LOCAL_NODES              how many of them share this machine
//   GALLOCY_LOCAL_INDEX              which of those this is
//   GALLOCY_LAUNCHER                 host:port (or [v6]:port) of the launcher's rendezvous
//   GALLOCY_SECRET_FD                an inherited memory file that holds the cluster secret: neither the command line
//   nor
//                                    the environment does, as other users could read the first and core dumps the
//                                    second
//   GALLOCY_TRANSPORT                tcp or shm
//   GALLOCY_ENCRYPT                  0 or 1
//   GALLOCY_LISTEN_HOST              where to listen; empty: the local address of the link to the launcher
//   GALLOCY_JOIN_TIMEOUT             seconds for all nodes to come
//
// and, when they were given, the settings that also apply to a program started by hand:
//
//   GALLOCY_MEMORY (bytes, or 512M, 4G …), GALLOCY_FAULT_ENGINE, GALLOCY_ON_PEER_LOST (end or continue)
//
// Example
//   auto launched = launch_from_environment();  // error: bad description; nothing: not started by the launcher
//   auto link = LauncherLink::connect(**launched);
//   auto mesh = Mesh::open({.listen_host = (*link)->listen_host(), …});
//   auto peers = (*link)->exchange((*mesh)->address());
//   (*link)->watch({.statistics = …, .launcher_gone = …});
//   …
//   (*link)->send_statistics(json);
//   (*link)->finished();
//
// Life. The link is open while the node lives. Its end without finished() is a failure of the node, and the end of the
// launcher's side is the launcher's death, which a node must not survive.
//
// Threads: connect and exchange by one thread, before watch. After that any thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "gallocy/node.h"
#include "net/mesh.h"
#include "net/rendezvous_frames.h"

namespace gallocy::net {

// What an empty field of NodeOptions falls back to. 0 or empty: not given.
struct NodeSettings {
  std::uint64_t memory_bytes = 0;
  std::string fault_engine;
  std::optional<OnPeerLost> on_peer_lost;
};

struct LaunchDescription {
  NodeId node{};
  std::uint16_t nodes = 1;
  std::uint16_t local_nodes = 1, local_index = 0;
  std::string launcher_host;
  std::uint16_t launcher_port = 0;
  std::string secret;
  LinkKind transport = LinkKind::kTcp;
  bool encrypt = false;
  std::string listen_host;
  std::chrono::milliseconds join_timeout{30'000};
};

// "4096", "512K", "512M", "4G", "1T" (powers of 1024; an "iB" or "B" after the letter is allowed).
Result<std::uint64_t> parse_memory_size(std::string_view text);

Result<NodeSettings> settings_from_environment();

// Nothing when GALLOCY_NODE is not set. The secret stays readable through its descriptor, which is made close-on-exec:
// programs that the node starts are not nodes.
Result<std::optional<LaunchDescription>> launch_from_environment();

class LauncherLink {
 public:
  // Connects and authenticates both ways. Bounded by the join timeout.
  static Result<std::unique_ptr<LauncherLink>> connect(const LaunchDescription& description);
  ~LauncherLink();
  LauncherLink(const LauncherLink&) = delete;
  LauncherLink& operator=(const LauncherLink&) = delete;

  // Where this node's mesh should listen so that the other nodes reach it.
  const std::string& listen_host() const { return listen_host_; }

  // Tells where this node is reached and waits until all have done so; result[i] is node i's address. kTimeout names
  // the nodes that have not come.
  Result<std::vector<PeerAddress>> exchange(const PeerAddress& mine);

  struct Watcher {
    std::function<std::string()> statistics;  // gives the text for send_statistics
    std::function<void()> launcher_gone;      // called at most once
  };
  // Starts a thread that waits for the launcher's questions and its death; it ends with finished(). The callbacks run
  // on that thread and must not destroy the link.
  void watch(Watcher watcher);

  // `json` is one object: {"counters": {"name": number, …}, "sharing": ["line", …]}; at most kMaxBodyBytes.
  Result<> send_statistics(std::string_view json);

  // Reports that a peer is lost. The launcher says so once for all nodes and, unless the survivors go on, ends them: so
  // the caller stays silent, and waits a second for its end before it exits by itself.
  void report_lost(NodeId peer, std::string_view reason);

  // This node leaves: its end is no failure any more. The link is closed by the destructor, or the process's end.
  Result<> finished();

  // For callers with an event loop of their own instead of watch(): readable when there is a question or the launcher
  // died.
  int fd() const { return fd_; }

 private:
  using Deadline = std::chrono::steady_clock::time_point;
  LauncherLink(int fd, const LaunchDescription& description);

  Result<> handshake(const LaunchDescription& description, Deadline deadline);
  Result<> send(rendezvous::FrameType type, std::span<const std::byte> body, Deadline deadline);
  Result<rendezvous::Frame> receive(Deadline deadline);
  Result<std::optional<rendezvous::Frame>> receive_some();
  bool answer(const Watcher& watcher);
  void stop_watching();

  // Constant after connect().
  const int fd_;
  const std::uint16_t nodes_;
  const std::chrono::milliseconds join_timeout_;
  std::string listen_host_;

  std::mutex send_mu_;
  rendezvous::SealedStream out_{rendezvous::Side::kNode};  // guarded by send_mu_; only encodes
  rendezvous::SealedStream in_{rendezvous::Side::kNode};   // by the one receiving thread; only decodes
  int stop_fd_ = -1;
  std::thread watching_;
};

}  // namespace gallocy::net
