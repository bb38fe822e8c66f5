// WholeLeaves: nodes of a WholeCluster that leave in order, a step at a time, as runtime/steward_leave.cc has them do
// it; and what the others do about it: they give the leaver nothing more, say farewell when they have read that it is
// about to leave and that it has left, and part with it when its links end.
//
// One leaves at a time, which the log sees to; others wait for their turn. Who does not get on stays a member.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "vmm_cluster.h"
#include "whole_memory.h"
#include "whole_sync.h"

namespace gallocy::sim {

// What a node that leaves can forget. The checks must catch each.
enum class LeaveBug : unsigned char {
  kNone,
  kUnheard,  // it waits for no farewell
  kUnsaid,   // it does not say where its blocks have gone
};

class WholeLeaves {
 public:
  WholeLeaves(VmmCluster& log, WholeMemory& memory, WholeSync& sync, LeaveBug bug);

  std::function<void(NodeId from, NodeId to, Epoch epoch)> on_farewell;  // is to be sent
  std::function<bool(NodeId)> is_released;                               // its durable memory is at others in its stead

  // Its program is over, and has nothing under way.
  void begin(NodeId node);
  bool is_leaving(NodeId node) const { return nodes_.contains(node) && nodes_.at(node).step != Step::kStays; }
  std::size_t leaving() const;
  bool has_left(NodeId node) const { return nodes_.contains(node) && nodes_.at(node).step == Step::kGone; }

  void start(NodeId node, const std::vector<NodeId>& present);
  void stop(NodeId node) { nodes_.erase(node); }
  void linked(NodeId node, NodeId other) { nodes_.at(node).met.insert(other); }
  bool has_met(NodeId node, NodeId other) const { return nodes_.at(node).met.contains(other); }
  void applied(NodeId node, const vmm::Applied& applied);
  void restored(NodeId node);
  void followed(NodeId node);  // the log, to its present state
  void farewell(NodeId from, NodeId to, Epoch epoch) { answered(to, from, epoch); }
  // Their link has ended. False: as far as the node knows, the other has not left.
  bool parted(NodeId node, NodeId other);
  void buried(NodeId node, NodeId dead);

  std::string describe(NodeId node) const;
  struct Counters {
    std::uint64_t begun = 0, left = 0, stayed = 0;  // stayed: as they did not get on
  };
  const Counters& counters() const { return counters_; }

 private:
  enum class Step : unsigned char {
    kStays,
    kWaits,         // for its turn
    kAnnounces,     // that it is about to leave
    kIsHeard,       // by all
    kSeesOff,       // those who have left before
    kReturnsLocks,  // to their homes
    kIsReleased,    // by those who lead durable blocks
    kGivesUp,       // blocks and pages
    kGivesUpMore,   // that came meanwhile; what nobody used it keeps
    kPublishes,     // where blocks have gone
    kLeaves,
    kIsHeardAgain,
    kPassesOn,  // what came for blocks that nobody used
    kGone,
  };
  struct Node {
    std::set<NodeId> met;  // to whom it has, or had, a link
    // As one that stays.
    NodeId leaver = kNoNode;  // that it was told of
    bool leaver_news_due = false;
    std::set<NodeId> left;  // that it was told of
    // As one that leaves.
    Step step = Step::kStays;
    std::uint64_t since = 0;  // when it last got on
    std::uint64_t again_at = 0;
    Epoch expected{};  // of farewells
    std::map<NodeId, Epoch> answers;
    std::vector<NodeId> missing;
    std::vector<vmm::BlockHomes> to_publish;
    std::size_t kept = 0;
    bool publishes = false;           // the last of them
    std::optional<vmm::Ticket> open;  // a proposal
    bool failed = false;              // the last one
  };

  const vmm::Machine& machine(NodeId node) { return log_.log(node).machine(); }
  void tell(NodeId node, NodeId leaver, bool leaves);
  void say_farewell(NodeId node, NodeId to);
  void answered(NodeId node, NodeId by, Epoch epoch);

  void go_on(NodeId node);
  bool may_go_on(NodeId node, Node& n);
  void next_step(NodeId node, Node& n);
  void stay(NodeId node, Node& n);
  void propose(NodeId node, vmm::Entry entry);
  void resolved(vmm::Ticket ticket, bool accepted);
  void expect_farewells(NodeId node, Node& n);
  bool all_heard(const Node& n) const;
  bool sees_off_all(NodeId node, const Node& n);
  bool gives_everything_up(NodeId node, Node& n);
  bool publishes(NodeId node, Node& n);
  bool drop_the_dead(NodeId node, vmm::BlockHomes& homes);
  bool log_lets_go(NodeId node);
  std::vector<NodeId> heirs(NodeId node);

  VmmCluster& log_;
  WholeMemory& memory_;
  WholeSync& sync_;
  const LeaveBug bug_;
  Prng prng_;
  std::map<NodeId, Node> nodes_;  // that are up
  Counters counters_;
};

}  // namespace gallocy::sim
