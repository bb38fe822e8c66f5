// Which nodes keep a block: its company. Every node computes it from the memberships that the log has told all of them,
// so nothing has to be agreed on beyond that.
//
// The founders of a block's company are the members with the highest scores for it (rendezvous hashing: Thaler and
// Ravishankar, "Using name-based mappings to increase hit rates", 1998) in the epoch in which its region was mapped. In
// each later epoch those that are no members any more leave, and the others move up; if there are too few, the members
// with the highest scores that are not in it yet follow. So blocks are scattered, a death concerns only the companies
// of the dead, those who joined a company first come first in it, and a node that joins takes part in regions mapped
// later, in companies that are too small, and after deaths; and in all others when it settles.
//
// Settling: a member takes over its share of the blocks that there are, one member at a time and in three steps, each
// of which opens an epoch (SettleStep). A step is made only in the epoch right after one in which every image was
// complete.
// 1. Companies in which the newcomer has a higher score than the lowest have it as one more, the last.
// 2. Who has the lowest score in a company that is larger than it should be stands last in it. It may have been the
//    primary, and need not have heard of it: but it still is a member, without which nothing is committed.
// 3. These companies are without their last.
//
// A member that is about to leave does not count: while it is still there, its companies have one more, which is
// restored meanwhile, so that nothing is missing when it has gone.
//
// A bystander, a member that keeps no blocks, is in no company.
//
// Invariants
// 1. A company has at most backups + 2 members, all different, and backups + 1 if nobody ever was about to leave and
//    nobody is settling; fewer only if there are no more members that keep blocks; none, only if there is no such
//    member at all.
// 2. From one epoch to the next members keep their order, but for step 2.
// 3. A node is a bystander as long as it is a member, or never (add() checks it).
#pragma once

#include <array>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "durable/types.h"

namespace gallocy::durable {

class Company {
 public:
  using Members = std::uint8_t;  // a set of them: bit i is the i-th

  static constexpr unsigned kNowhere = ~0u;

  unsigned size() const { return size_; }
  NodeId operator[](unsigned position) const { return nodes_[position]; }
  NodeId primary() const { return size_ == 0 ? kNoNode : nodes_[0]; }
  unsigned position(NodeId node) const;
  bool has(NodeId node) const { return position(node) != kNowhere; }
  Members all() const { return static_cast<Members>((1u << size_) - 1); }
  Members backups() const { return all() & ~Members{1}; }
  bool operator==(const Company&) const = default;

  void add(NodeId node) { nodes_[size_++] = node; }

 private:
  std::array<NodeId, kMaxBackups + 2> nodes_{};
  std::uint8_t size_ = 0;
};

// What opened an epoch, if it was a step by which a member settles.
enum class SettleStep : std::uint8_t { kNone, kTakenIn, kTakesOver, kSettled };

// Who the members are in an epoch.
struct Membership {
  Epoch epoch{};
  std::vector<NodeId> nodes{};       // ascending
  NodeId leaver = kNoNode;           // the one of them that is about to leave
  NodeId restarted = kNoNode;        // was a member before, and is one in another life, with what it had
  std::vector<NodeId> bystanders{};  // those of them that keep no blocks; ascending
  NodeId settler = kNoNode;          // the one of them that is settling: has made a step, and not the last
  SettleStep step = SettleStep::kNone;
};

// All memberships so far; the same on every node that has got as far in the log.
class History {
 public:
  explicit History(Membership first) { add(std::move(first)); }

  void add(Membership membership);

  const Membership& membership() const { return memberships_.back(); }
  Epoch latest() const { return membership().epoch; }
  const std::vector<NodeId>& members() const { return membership().nodes; }
  NodeId leaver() const { return membership().leaver; }    // kNoNode: nobody is about to leave
  NodeId settler() const { return membership().settler; }  // kNoNode: nobody is settling
  bool is_bystander(NodeId node) const;
  bool has_keeping_members() const { return membership().bystanders.size() < members().size(); }
  bool is_member(NodeId node) const { return joined(node) != Epoch{}; }
  // The epoch since which it is a member; Epoch{}: it is none.
  Epoch joined(NodeId node) const { return node.value < joined_.size() ? joined_[node.value] : Epoch{}; }

  // In the latest epoch, of a block of a region that was mapped in the epoch `founded`.
  Company company(BlockId block, unsigned backups, Epoch founded) const {
    return company(block, backups, founded, latest());
  }
  Company company(BlockId block, unsigned backups, Epoch founded, Epoch in) const;
  // What follows in the latest epoch on the company of the epoch before.
  Company successor(const Company& company, BlockId block, unsigned backups) const {
    return successor(company, block, backups, memberships_.back());
  }

 private:
  static Company successor(const Company& company, BlockId block, unsigned backups, const Membership& membership);

  std::vector<Membership> memberships_;
  std::vector<Epoch> joined_;
};

}  // namespace gallocy::durable
