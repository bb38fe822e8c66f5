// Regions: this node's part in the VMM log (vmm/log.h), and what follows from it: regions appear in Memory when the
// entry that maps them is applied, on every node in the same order.
//
// Threads: any thread. mu_ may be taken before Memory's lock, never after it.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gallocy/node.h"
#include "net/mesh.h"
#include "os/mutex.h"
#include "runtime/memory.h"
#include "runtime/waiting.h"
#include "vmm/log.h"

namespace gallocy::runtime {

class Regions {
 public:
  Regions(NodeId self, std::uint16_t nodes, net::Mesh* mesh, Memory& memory);
  void set_waiting(Waiting& waiting) { waiting_ = &waiting; }

  // Proposes this node as a member; returns when that is in the log, here.
  Result<> join(const std::string& address, std::chrono::milliseconds timeout);
  Result<Region> map(const RegionOptions& options);
  Result<Region> attach(std::string_view name, std::chrono::milliseconds timeout);

  // An error if the log is kept by a majority, and this node has no connection to one any more.
  Result<> majority();

  bool frame_arrived(NodeId from, wire::MessageType type, std::span<const std::byte> body);
  void node_died(NodeId node);
  void tick();  // every 100 ms or so
  // The log's timers. They are coarse (tens of milliseconds), and the poller's turns are frequent enough for them: to
  // wake it for them would cost each fault that ends shortly before.
  void housekeeping();

 private:
  struct Waiter {
    WaitFlag flag;
    std::optional<Result<vmm::Outcome>> outcome;
  };

  Result<vmm::Outcome> propose(vmm::Entry entry, std::chrono::milliseconds timeout);
  // The end of a turn: sends what the log has gathered, and does what it asks for.
  void carry_out(vmm::Effects& effects) REQUIRES(mu_);
  void follow(const vmm::Applied& applied) REQUIRES(mu_);
  void take_over() REQUIRES(mu_);
  void appeared(const vmm::Region& region) REQUIRES(mu_);
  void announce_new_homes() REQUIRES(mu_);
  // A pointer into a region may reach a node before the log does, so map() and attach() return when all nodes have it.
  Result<> wait_until_everywhere(RegionId region, std::int64_t deadline_ns);
  // Who gathers which nodes have a region: the first that is not dead.
  NodeId coordinator() const REQUIRES(mu_);
  void say_it_is_here(RegionId region) REQUIRES(mu_);
  bool region_news(NodeId from, wire::MessageType type, std::span<const std::byte> body) REQUIRES(mu_);
  void region_is_here(NodeId node, RegionId region) REQUIRES(mu_);
  void tell_if_everywhere(RegionId region) REQUIRES(mu_);
  void send_news(NodeId to, wire::MessageType type, RegionId region) REQUIRES(mu_);

  const NodeId self_;
  const std::uint16_t nodes_;
  net::Mesh* const mesh_;
  Memory& memory_;
  Waiting* waiting_ = nullptr;
  WaitFlag all_joined_;
  std::atomic<std::int64_t> next_due_us_{0};

  os::Mutex mu_;
  vmm::Log log_ GUARDED_BY(mu_);
  bool started_ GUARDED_BY(mu_) = false;
  std::uint64_t next_ticket_ GUARDED_BY(mu_) = 1;
  std::unordered_map<std::uint64_t, Waiter*> waiters_ GUARDED_BY(mu_);
  std::vector<WaitFlag*> region_waiters_ GUARDED_BY(mu_);  // set when a region appears or is everywhere
  std::vector<RegionId> everywhere_ GUARDED_BY(mu_);
  std::unordered_map<RegionId, std::vector<NodeId>> here_
      GUARDED_BY(mu_);  // coordinator: who has a region that not all have
  std::vector<bool> dead_ GUARDED_BY(mu_);
  std::vector<RegionId> mapped_ GUARDED_BY(mu_);  // in Memory
};

}  // namespace gallocy::runtime
