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

}  // namespace

unsigned Company::position(NodeId node) const {
  for (unsigned i = 0; i < size_; ++i) {
    if (nodes_[i] == node) return i;
  }
  return kNowhere;
}

bool History::has(const Membership& membership, NodeId node) {
  return std::binary_search(membership.nodes.begin(), membership.nodes.end(), node);
}

void History::add(Epoch epoch, std::span<const NodeId> members, NodeId leaver, NodeId restarted) {
  CHECK(memberships_.empty() || epoch > latest(), epoch, latest());
  Membership membership{epoch, {members.begin(), members.end()}, leaver};
  std::sort(membership.nodes.begin(), membership.nodes.end());
  if (!members.empty()) joined_.resize(std::max<std::size_t>(joined_.size(), membership.nodes.back().value + 1u));
  for (std::uint16_t i = 0; i < joined_.size(); ++i) {
    if (!has(membership, NodeId{i})) {
      joined_[i] = Epoch{};
    } else if (joined_[i] == Epoch{} || NodeId{i} == restarted) {
      joined_[i] = epoch;
    }
  }
  memberships_.push_back(std::move(membership));
}

Company History::successor(const Company& company, BlockId block, unsigned backups, const Membership& membership) {
  Company next;
  for (unsigned i = 0; i < company.size(); ++i) {
    if (has(membership, company[i])) next.add(company[i]);
  }
  const auto stay = [&] { return next.size() - static_cast<unsigned>(next.has(membership.leaver)); };
  while (stay() < backups + 1) {
    NodeId best = kNoNode;
    std::uint64_t best_score = 0;
    for (const NodeId node : membership.nodes) {
      const std::uint64_t its = score(block, node);
      if (next.has(node) || node == membership.leaver) continue;
      if (best == kNoNode || its > best_score) best = node, best_score = its;
    }
    if (best == kNoNode) break;
    next.add(best);
  }
  if (next.size() == 0 && membership.leaver != kNoNode) next.add(membership.leaver);  // nobody else is there
  return next;
}

Company History::company(BlockId block, unsigned backups, Epoch founded, Epoch in) const {
  Company company;
  for (const Membership& membership : memberships_) {
    if (membership.epoch >= founded && membership.epoch <= in) company = successor(company, block, backups, membership);
  }
  return company;
}

}  // namespace gallocy::durable
