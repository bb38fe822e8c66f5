// Mesh: a node's connections to all the others, and the one place where it waits for messages.
//
// Each peer is reached by one Link (tcp or shm), which keeps frames in order. All links of a node share one epoll set,
// so that a thread can sleep on all of them at once.
//
// Threads. send() may be called by any thread; frames to one peer leave in the order of the calls. Receiving is the
// privilege of one thread at a time, the *poller*: normally the node's loop thread, inside serve(); a thread that waits
// for an answer takes the role over (try_claim), polls for itself, so that no hand-over between threads delays the
// answer, and gives it back (release). Sinks are called on the poller.
//
// Invariants
// 1. Frames of one peer are delivered in the order they were sent; nothing is lost or repeated while the peer is up.
// 2. After peer_down(n) no frame of n is delivered, and send(n) discards. A number is not used again.
// 3. While claimed, the loop thread neither receives nor is woken by arriving frames.
// 4. Memory for unsent frames is at most kOutboxBytes per peer plus what the poller itself answers, which is bounded by
// the peers'
//    own limits on outstanding requests.
#pragma once

#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "wire/frame.h"

namespace gallocy::net {

class Visit;

class FrameSink {
 public:
  virtual ~FrameSink() = default;

  // Called when header and body of a frame with a payload have arrived: fills `target` with at most 64 pieces that
  // together hold exactly payload_bytes, and returns their number; 0: the payload is not wanted in place, it will be
  // passed to frame_arrived in a buffer of the mesh.
  virtual std::size_t payload_target(NodeId from, const wire::FrameHeader& header, std::span<const std::byte> body,
                                     std::span<iovec, 64> target) = 0;

  // A whole frame is here. `payload` is empty when it was placed. Both spans end with the call.
  virtual void frame_arrived(NodeId from, const wire::FrameHeader& header, std::span<const std::byte> body,
                             std::span<const std::byte> payload) = 0;

  // A node has joined an open cluster: before any frame of it, and before the first that may be sent to it.
  virtual void peer_up(NodeId) {}

  // The peer is gone: closed, reset, silent for longer than the bound, or it broke the protocol.
  virtual void peer_down(NodeId peer, std::string_view reason) = 0;
};

enum class LinkKind : std::uint8_t { kTcp, kShm };

// kFixed: all nodes are there from the start to the end, and run the same program. kOpen: nodes come and go, and may be
// different programs; links are TCP.
enum class Membership : std::uint8_t { kFixed, kOpen };

struct MeshOptions {
  NodeId self{};            // kOpen: given by enter(), unless it has its number already
  std::uint16_t nodes = 1;  // kOpen: how many numbers there are for nodes
  Membership membership = Membership::kFixed;
  LinkKind links = LinkKind::kTcp;
  std::string secret;    // cluster secret, 16 … 256 bytes
  std::string build_id;  // of this program; peers must have the same
  std::string listen_host = "127.0.0.1";
  std::uint16_t listen_port = 0;  // 0: chosen by the kernel
  bool encrypt = false;           // TLS 1.3; decided by the caller: on unless all hosts are loopback
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds peer_timeout{2'000};  // a peer that takes no data, or does not acknowledge it: down
  std::chrono::microseconds spin{50};             // how long a thread that waits for its answer spins before it sleeps
  // The same for the loop thread. 0 where program threads need its core: while it spins they cannot run, and a loop
  // thread that sleeps preempts them when a frame comes.
  std::chrono::microseconds loop_spin{50};
};

struct PeerAddress {
  std::string host;
  std::uint16_t port = 0;
};

struct Peer {
  NodeId node{};
  PeerAddress address{};
};

// What a thread that is not the poller does while the peer's outbox is full. kQueue is for senders that hold a lock
// which the poller needs, and whose frames are bounded otherwise (a request per thread and the answers to them).
enum class WhenFull : std::uint8_t { kWait, kQueue };

class Mesh {
 public:
  // Opens the listening socket.
  static Result<std::unique_ptr<Mesh>> open(MeshOptions options);
  virtual ~Mesh() = default;

  // Where peers reach this node (host as configured, actual port).
  virtual PeerAddress address() const = 0;

  // Connects to every other node; addresses[i] is node i's. Authenticates both ways by the cluster secret and compares
  // protocol version and build. Returns when all links are up, or with an error that names the node that is not.
  virtual Result<> connect(const std::vector<PeerAddress>& addresses) = 0;

  // The same in an open cluster, whose present members are `others`: this node is the last to come, as `self`.
  virtual Result<> enter(NodeId self, const std::vector<Peer>& others) = 0;
  // The same for members that all start again at about the same time, this one as `self`. The door is open: those with
  // higher numbers come through it.
  virtual Result<> reunite(const std::vector<Peer>& others) = 0;
  // From now on nodes that join may connect (FrameSink::peer_up), and visitors are received: each on a thread of its
  // own, on which `receive` may wait. Open clusters only, after enter() or, with `self`, before reunite().
  virtual void open_door(std::function<void(Visit&)> receive) = 0;
  // No more of both. Returns when all visitors have gone.
  virtual void close_door() = 0;
  // The program that the peer runs.
  virtual std::string build_of(NodeId peer) const = 0;

  // Queues and, as far as the peer takes it at once, sends a frame. Body and payload are copied where they cannot leave
  // before the call returns. A thread that is not the poller waits while the peer's outbox is full.
  virtual void send(NodeId to, const wire::FrameHeader& header, std::span<const std::byte> body,
                    std::span<const iovec> payload, WhenFull when_full = WhenFull::kWait) = 0;
  // The same in short, with kQueue.
  void queue(NodeId to, wire::MessageType type, std::span<const std::byte> body, std::span<const iovec> payload = {});

  // For the loop thread: waits up to `timeout` for frames (spinning first, as configured) and delivers what is there.
  // While the role is claimed by another thread it waits for that to end instead.
  virtual void serve(FrameSink& sink, std::chrono::microseconds timeout) = 0;

  // For a thread that waits for an answer. try_claim: false if another such thread already has the role. Between
  // try_claim and release the thread calls poll, which delivers what is there and returns whether there was anything;
  // with a timeout it sleeps up to that long for it.
  virtual bool try_claim() = 0;
  virtual bool poll(FrameSink& sink, std::chrono::microseconds timeout) = 0;
  virtual void release() = 0;

  // Makes serve() return soon. Any thread.
  virtual void wake() = 0;
  // Ends the present or next serve() at that time (os::monotonic_ns), if it does not end before.
  virtual void wake_at(std::int64_t ns) = 0;

  // Ends all links after what is queued has left (at most `timeout`). peer_down is not called for them.
  virtual void close(std::chrono::milliseconds timeout) = 0;

  // For how long the peer's machine has left unanswered what was sent to it; 0 if it answers, or nothing was sent. What
  // its process does is another question.
  virtual std::uint64_t unanswered_us(NodeId peer) const = 0;

  // Frames and bytes sent and received since open, per peer.
  struct Counters {
    std::uint64_t frames_sent = 0, bytes_sent = 0, frames_received = 0, bytes_received = 0;
  };
  virtual Counters counters(NodeId peer) const = 0;
};

}  // namespace gallocy::net
