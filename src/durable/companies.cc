#include "durable/companies.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/prng.h"

namespace gallocy::durable {
namespace {

std::uint64_t score(BlockId block, NodeId node) {
  return Prng(block.value * 0x9e3779b97f4a7c15 ^ std::uint64_t{node.value} << 48)();
}

bool has(const std::vector<NodeId>& ascending, NodeId node) { return std::ranges::binary_search(ascending, node); }

bool keeps_blocks(const Membership& membership, NodeId node) {
  return has(membership.nodes, node) && !has(membership.bystanders, node);
}

// Where the lowest score is, among all but the one that is about to leave.
unsigned lowest(const Company& company, BlockId block, NodeId leaver) {
  unsigned lowest = Company::kNowhere;
  for (unsigned i = 0; i < company.size(); ++i) {
    if (company[i] == leaver) continue;
    if (lowest == Company::kNowhere || score(block, company[i]) < score(block, company[lowest])) lowest = i;
  }
  return lowest;
}

unsigned staying(const Company& company, NodeId leaver) {
  return company.size() - static_cast<unsigned>(company.has(leaver));
}

Company without(const Company& company, NodeId node) {
  Company others;
  for (unsigned i = 0; i < company.size(); ++i) {
    if (company[i] != node) others.add(company[i]);
  }
  return others;
}

Company settle(const Company& company, BlockId block, unsigned backups, const Membership& membership) {
  const NodeId leaver = membership.leaver, settler = membership.settler;
  Company next = company;
  switch (membership.step) {
    case SettleStep::kNone:
      break;
    case SettleStep::kTakenIn: {
      if (next.size() >= backups + 2 || next.has(settler) || !keeps_blocks(membership, settler)) break;
      const unsigned last = lowest(next, block, leaver);
      if (last != Company::kNowhere && score(block, settler) > score(block, next[last])) next.add(settler);
      break;
    }
    case SettleStep::kTakesOver: {
      if (staying(next, leaver) <= backups + 1) break;
      const NodeId last = next[lowest(next, block, leaver)];
      next = without(next, last);
      next.add(last);
      break;
    }
    case SettleStep::kSettled:
      for (unsigned i = next.size(); i-- > 0 && staying(next, leaver) > backups + 1;) {
        if (next[i] != leaver) next = without(next, next[i]);
      }
  }
  return next;
}

}  // namespace

unsigned Company::position(NodeId node) const {
  for (unsigned i = 0; i < size_; ++i) {
    if (nodes_[i] == node) return i;
  }
  return kNowhere;
}

bool History::is_bystander(NodeId node) const { return has(membership().bystanders, node); }

void History::add(Membership membership) {
  const std::vector<NodeId>& nodes = membership.nodes;
  CHECK(memberships_.empty() || membership.epoch > latest(), membership.epoch, latest());
  CHECK(std::ranges::is_sorted(nodes) && std::ranges::includes(nodes, membership.bystanders), membership.epoch);
  for (const NodeId node : nodes)
    CHECK(!is_member(node) || is_bystander(node) == has(membership.bystanders, node), node, membership.epoch);
  if (!nodes.empty()) joined_.resize(std::max<std::size_t>(joined_.size(), nodes.back().value + 1u));
  for (std::uint16_t i = 0; i < joined_.size(); ++i) {
    if (!has(nodes, NodeId{i})) {
      joined_[i] = Epoch{};
    } else if (joined_[i] == Epoch{} || NodeId{i} == membership.restarted) {
      joined_[i] = membership.epoch;
    }
  }
  memberships_.push_back(std::move(membership));
}

Company History::successor(const Company& company, BlockId block, unsigned backups, const Membership& membership) {
  Company next;
  for (unsigned i = 0; i < company.size(); ++i) {
    if (keeps_blocks(membership, company[i])) next.add(company[i]);
  }
  while (staying(next, membership.leaver) < backups + 1) {
    NodeId best = kNoNode;
    std::uint64_t best_score = 0;
    for (const NodeId node : membership.nodes) {
      const std::uint64_t its = score(block, node);
      if (next.has(node) || node == membership.leaver || !keeps_blocks(membership, node)) continue;
      if (best == kNoNode || its > best_score) best = node, best_score = its;
    }
    if (best == kNoNode) break;
    next.add(best);
  }
  if (next.size() == 0 && keeps_blocks(membership, membership.leaver)) next.add(membership.leaver);  // nobody else does
  return settle(next, block, backups, membership);
}

Company History::company(BlockId block, unsigned backups, Epoch founded, Epoch in) const {
  Company company;
  for (const Membership& membership : memberships_) {
    if (membership.epoch >= founded && membership.epoch <= in) company = successor(company, block, backups, membership);
  }
  return company;
}

}  // namespace gallocy::durable
