#include "vmm/home_map.h"

#include <iterator>

namespace gallocy::vmm {

void HomeMap::assign(BlockId first, std::uint64_t count, NodeId home) {
  if (count == 0) return;
  const BlockId end{first.value + count};
  const NodeId after = home_of(end);
  starts_.erase(starts_.lower_bound(first), starts_.upper_bound(end));
  const auto follow = [&](BlockId start, NodeId node) {
    const auto next = starts_.lower_bound(start);
    const NodeId before = next == starts_.begin() ? kNoNode : std::prev(next)->second;
    if (before != node) starts_.emplace_hint(next, start, node);
  };
  follow(first, home);
  follow(end, after);
}

NodeId HomeMap::home_of(BlockId block) const {
  const auto next = starts_.upper_bound(block);
  return next == starts_.begin() ? kNoNode : std::prev(next)->second;
}

std::size_t HomeMap::runs() const {
  std::size_t count = 0;
  for_each_run([&](BlockId, std::uint64_t, NodeId) { ++count; });
  return count;
}

bool HomeMap::consistent() const {
  NodeId previous = kNoNode;
  for (const auto& [first, home] : starts_) {
    if (home == previous) return false;
    previous = home;
  }
  return previous == kNoNode;
}

}  // namespace gallocy::vmm
