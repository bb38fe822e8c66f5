// WholeMemory: the coherent memory of whole nodes. Each has a coherence core, which follows its node's own log as
// runtime/ has it do: regions appear, homes that moved become entries and are told to those who knew nothing better,
// nodes come, and are dead when the log says so. The cores with their pages are a CoherenceCluster, whose checks hold
// here too; its messages travel on the links of the whole nodes.
//
// What is checked besides: nobody believes a dead node to be the home of a block of which its log knows more.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "coherence_cluster.h"
#include "vmm_cluster.h"

namespace gallocy::sim {

struct WholeMemoryOptions {
  std::uint64_t seed = 1;
  bool trace = false;
  // How a driver can go wrong: with each core (coherence_cluster.h), or as it does not do what the log says of homes.
  Mutant mutant = Mutant::kNone;
  bool ignores_homes = false;
};

class WholeMemory final : private CoherenceObserver {
 public:
  static constexpr std::uint16_t kMostNodes = 32;
  static constexpr std::size_t kMostRegions = 8;

  WholeMemory(VmmCluster& log, const WholeMemoryOptions& options);

  // The links: a message is to be sent, and then arrive() or drop() is called for it, in order.
  std::function<void(NodeId from, NodeId to)> on_send;
  std::function<bool(NodeId from, NodeId to)> is_linked;
  std::function<void(NodeId, BlockId, coherence::PageSet)> on_wake;  // of threads that wait for these pages

  void start(NodeId node, const std::vector<NodeId>& present);
  // `surviving(to)` of its messages still arrive.
  void stop(NodeId node, const std::function<std::size_t(NodeId to)>& surviving);
  void applied(NodeId node, const vmm::Applied& applied);
  void restored(NodeId node);
  void node_joined(NodeId node, NodeId other) { cluster_.node_joined(node, other); }
  void bury(NodeId node, NodeId dead);
  void supersede(NodeId dead) { cluster_.supersede(dead); }
  void beat(NodeId node);  // every 100 ms
  bool begin_receiving(NodeId from, NodeId to);
  void arrive(NodeId from, NodeId to);
  void drop(NodeId from, NodeId to) { cluster_.drop(from, to); }

  // Leaving in order: what others do for a leaver, and the leaver's steps (whole_leaves.h).
  void node_leaves(NodeId node, NodeId leaver, bool leaves) { cluster_.node_leaves(node, leaver, leaves); }
  void departed(NodeId node, NodeId other);
  void follow_anchors(NodeId node);
  bool have_room_for_all(NodeId node, const std::vector<NodeId>& heirs) const;
  void take_more(NodeId node, bool more) { nodes_.at(node).takes_more = more; }
  std::size_t give_everything_up(NodeId node, const std::vector<NodeId>& heirs);  // how many blocks are still there
  void keep_untouched(NodeId node) { cluster_.keep_untouched(node); }
  void give_untouched(NodeId node);
  std::vector<vmm::BlockHomes> given_homes(NodeId node);
  void retire(NodeId node);  // in place of stop(): all its messages still arrive

  // One more, by this node.
  void map_region(NodeId node);
  // Those that threads of the node may use: mapping returns when all members have the region.
  const std::vector<coherence::RegionSpec>& usable(NodeId node);

  // A thread's access, as CoherenceCluster has them.
  bool may(NodeId node, PageId page, Access want) const { return cluster_.may(node, page, want); }
  void read(NodeId node, PageId page, unsigned word) { (void)cluster_.read(node, page, word); }
  void write(NodeId node, PageId page, unsigned word, std::uint64_t value) { cluster_.write(node, page, word, value); }
  coherence::FaultOutcome fault(NodeId node, PageId page, Access want, std::uint64_t hold_us);
  void about_to_access(NodeId node, PageId page);

  std::string describe(NodeId node, PageId page) const { return cluster_.core(node).describe(page); }
  bool is_at_rest(NodeId node) const;
  std::string under_way(NodeId node) const;
  void check_rest() { cluster_.check_rest(); }
  std::uint64_t digest() const { return cluster_.digest(); }
  struct Counters {
    std::uint64_t homes_moved = 0, homes_told = 0;  // told: to a node, of another, by the log
    std::uint64_t evicted = 0, spilled = 0, buried = 0;
  };
  Counters counters() const;

 private:
  struct Node {
    std::vector<coherence::RegionSpec> regions, usable;
    std::vector<BlockId> new_homes;
    std::uint64_t tick_at = 0;  // 0: none is due
    bool takes_more = true;
  };
  // What runtime/memory_following.h tells.
  struct Told {
    WholeMemory& memory;
    NodeId node;
    void home_hint(BlockId first, std::uint64_t count, NodeId home);
    void home_given(BlockId first, std::uint64_t count, NodeId from, NodeId to);
  };

  const vmm::Machine& machine(NodeId node) { return log_.log(node).machine(); }
  void appeared(NodeId node, const vmm::Region& region);
  bool is_everywhere(NodeId node, PageId region);
  void check_homes(NodeId node);
  void schedule_tick(NodeId node);
  template <typename Event>
  void step(NodeId node, Event event);

  void sent(NodeId from, NodeId to) override { on_send(from, to); }
  bool linked(NodeId from, NodeId to) override { return is_linked(from, to); }
  void woken(NodeId node, BlockId block, coherence::PageSet pages) override { on_wake(node, block, pages); }
  void lost(NodeId node, BlockId block, coherence::PageSet pages) override { on_wake(node, block, pages); }
  void home_moved(NodeId node, BlockId block) override { nodes_.at(node).new_homes.push_back(block); }
  void trace(std::string_view line) override;

  VmmCluster& log_;
  const WholeMemoryOptions options_;
  Prng prng_;
  const std::vector<coherence::Options> of_nodes_;
  CoherenceCluster cluster_;
  std::map<NodeId, Node> nodes_;  // that are up
  std::set<PageId> everywhere_;   // regions that all members have, or had
  std::size_t mapped_ = 0;
  std::uint64_t homes_told_ = 0, buried_ = 0;
};

}  // namespace gallocy::sim
