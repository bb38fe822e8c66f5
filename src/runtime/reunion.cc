#include "runtime/reunion.h"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

namespace gallocy::runtime {

Reunion::Reunion(wire::Returning mine, std::vector<NodeId> without)
    : says_(std::move(mine)), without_(without.begin(), without.end()) {}

Result<> Reunion::heard(const wire::Returning& other) {
  if (other.cluster != says_.cluster)
    return fail(ErrorCode::kConflict,
                fmt::format("node {} has the log of another cluster than node {}", other.node, says_.node));
  here_.insert(other.node);
  if (std::tie(other.term, other.index) > std::tie(says_.term, says_.index))
    says_.term = other.term, says_.index = other.index, says_.members = other.members;
  return {};
}

bool Reunion::comes(const Member& member) const { return member.on_disk && !without_.contains(member.node); }

std::vector<Reunion::Member> Reunion::company() const {
  std::vector<Member> company;
  std::ranges::copy_if(says_.members, std::back_inserter(company), [this](const Member& m) { return comes(m); });
  if (std::ranges::find(company, says_.node, &Member::node) == company.end()) company.clear();
  return company;
}

std::vector<NodeId> Reunion::absent() const {
  std::vector<NodeId> nodes;
  for (const Member& member : says_.members) {
    if (!comes(member)) nodes.push_back(member.node);
  }
  return nodes;
}

std::vector<Reunion::Member> Reunion::missing() const {
  std::vector<Member> missing;
  std::ranges::copy_if(says_.members, std::back_inserter(missing),
                       [this](const Member& m) { return comes(m) && m.node != says_.node && !here_.contains(m.node); });
  return missing;
}

}  // namespace gallocy::runtime
