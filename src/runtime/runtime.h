// Runtime: one node, put together. Owns the parts, routes frames to them, keeps the node's timers and its loop thread,
// and decides what happens when a peer is lost.
//
// Lock order (a thread that holds one may take those to its right, never to its left):
//   Runtime::fates_mu_ -> Regions::mu_ -> Memory::mu_, DurableService::mu_ -> Sections::mu_, the mesh's own
//   Sync::mu_, Threads::mu_ -> the mesh's own
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/bounded_event.h"
#include "net/mesh.h"
#include "net/rendezvous.h"
#include "runtime/durable_service.h"
#include "runtime/global_heap.h"
#include "runtime/memory.h"
#include "runtime/regions.h"
#include "runtime/sections.h"
#include "runtime/settings.h"
#include "runtime/sync_service.h"
#include "runtime/threads.h"
#include "runtime/vigil.h"
#include "runtime/waiting.h"

namespace gallocy::runtime {

class Steward;

// A connection that moves nothing for so long, though there is something to send, is over.
inline constexpr std::chrono::milliseconds kPeerTimeout{10'000};

class Runtime final : public net::FrameSink {
 public:
  static Result<std::unique_ptr<Runtime>> join(const NodeOptions& options);
  // A node without a program, of an open cluster.
  static Result<std::unique_ptr<Runtime>> serve(const NodeOptions& options, NodeLog log);
  ~Runtime() override;  // waits for all nodes to leave; in an open cluster only this one does, if it has not yet
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  NodeId self() const { return settings_.self; }
  std::uint16_t nodes() const { return settings_.nodes; }  // numbers of nodes are below
  bool is_open() const { return settings_.open.has_value(); }
  std::uint16_t present_nodes() const;  // with this one
  bool is_present(NodeId node) const;
  std::optional<NodeId> departing_node() const;  // one that has left, and whose connection has not ended yet
  bool is_lost(NodeId node) const { return peers_[node.value].lost; }
  const Settings& settings() const { return settings_; }

  Memory& memory() { return *memory_; }
  Regions& regions() { return *regions_; }
  DurableService& durable() { return *durable_; }
  Sections& sections() { return *sections_; }
  SyncService& sync() { return *sync_; }
  Threads& threads() { return *threads_; }
  GlobalHeap& heap() { return *heap_; }
  Statistics statistics();
  net::Mesh* mesh() { return mesh_.get(); }
  Waiting& waiting() { return *waiting_; }

  // Gets the messages 0x7xx, on the poller; false: the message makes no sense. Set before any comes.
  using Extension = std::function<bool(NodeId from, wire::MessageType type, std::span<const std::byte> body,
                                       std::span<const std::byte> payload)>;
  void set_extension(Extension extension) { extension_ = std::move(extension); }
  // Open clusters: leaves in order. On failure this node is a member as before.
  Result<> leave();
  Steward* steward() { return steward_.get(); }  // of an open cluster
  // A node that the log let in has not come.
  void did_not_arrive(NodeId node) { lost(node, "it was let in and did not come"); }
  void began_again(NodeId node) { lost(node, "its process has ended, and starts again"); }
  // Whether memory is offered to others.
  void take_more(bool more) { takes_more_ = more; }

  // Ends this process: peers and launcher are told that it leaves. All nodes do it at about the same time; nobody waits
  // for anybody.
  [[noreturn]] void leave_at_once(int status);

 private:
  explicit Runtime(Settings settings);

  static Result<std::unique_ptr<Runtime>> start(Settings settings);

  Result<> begin();
  Result<> connect();
  Result<> enter_cluster();
  void follow_members();
  Result<> settle_in();
  std::vector<NodeId> present_at_first() const;
  Result<> make_heap(Placement placement);
  void leave_somehow();
  Result<> assemble();
  void run_loop();
  std::int64_t housekeeping();
  void beat(std::int64_t now_us);
  void lost(NodeId peer, std::string_view reason, LogLevel level = LogLevel::kWarn);
  void departed(NodeId peer);
  void members_changed(NodeId node, const vmm::Member& member, Epoch epoch);
  void leaver_changed(NodeId node, bool leaves, Epoch epoch);
  void say_farewell(NodeId node, Epoch epoch);
  void bury(NodeId peer) REQUIRES(fates_mu_);
  void part_from(NodeId peer) REQUIRES(fates_mu_);
  void declared_gone(NodeId node);
  void bury_the_declared();
  template <typename F>
  void for_each_peer(F f);
  std::string statistics_json();

  // FrameSink; on the poller.
  std::size_t payload_target(NodeId from, const wire::FrameHeader& header, std::span<const std::byte> body,
                             std::span<iovec, 64> target) override;
  void frame_arrived(NodeId from, const wire::FrameHeader& header, std::span<const std::byte> body,
                     std::span<const std::byte> payload) override;
  void peer_up(NodeId peer) override;
  void peer_down(NodeId peer, std::string_view reason) override;
  bool route(NodeId from, wire::MessageType type, std::span<const std::byte> body, std::span<const std::byte> payload);

  Settings settings_;                     // constant once this node has its number
  std::unique_ptr<LogDisk> disk_;         // of an open cluster, until Regions has it
  std::unique_ptr<DurableDisk> journal_;  // until durable_ has it
  std::unique_ptr<Steward> steward_;
  std::unique_ptr<net::LauncherLink> link_;
  std::unique_ptr<net::Mesh> mesh_;
  std::unique_ptr<Waiting> waiting_;
  std::unique_ptr<Memory> memory_;
  std::unique_ptr<DurableService> durable_;
  std::unique_ptr<SyncService> sync_;
  std::unique_ptr<Sections> sections_;
  std::unique_ptr<Regions> regions_;
  std::unique_ptr<Threads> threads_;
  std::unique_ptr<GlobalHeap> heap_;
  std::atomic<GlobalHeap*> ticking_heap_{nullptr};  // set once it is complete; the loop runs before that

  Extension extension_;
  struct Peer {
    std::atomic<bool> present{false}, left{false};
    std::atomic<bool> lost{false};    // there is no link to it any more
    std::atomic<bool> buried{false};  // it is dead to all, or the log cannot say so any more
  };
  std::vector<Peer> peers_;
  std::unique_ptr<Vigil> vigil_;  // with a mesh
  std::atomic<bool> takes_more_{true};
  bool has_left_ = false;
  BoundedEvent refused_frames_{LogLevel::kError, "frame_refused"};  // the poller's
  os::Mutex fates_mu_;  // all parts hear of a node's coming before they hear of its end
  os::Mutex declared_mu_;
  std::vector<NodeId> declared_gone_ GUARDED_BY(declared_mu_);  // by the log, and not noticed here yet
  std::atomic<bool> any_declared_{false};
  std::atomic<std::int64_t> next_beat_us_{0};
  std::atomic<bool> stop_{false};
  std::thread loop_;
};

// f(node, peer) for each that is there.
template <typename F>
void Runtime::for_each_peer(F f) {
  if (mesh_ == nullptr) return;
  for (std::uint16_t n = 0; n < nodes(); ++n) {
    Peer& peer = peers_[n];
    if (peer.present && !peer.left && !peer.lost) f(NodeId{n}, peer);
  }
}

}  // namespace gallocy::runtime
