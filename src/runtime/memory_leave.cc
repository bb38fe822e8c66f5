// Nodes that come, and this node when it leaves an open cluster: see coherence/core_leave.cc.
#include <algorithm>

#include "runtime/memory.h"

namespace gallocy::runtime {

void Memory::node_joined(NodeId node) {
  const os::MutexLock lock(mu_);
  core_.node_joined(node);
}

void Memory::node_leaves(NodeId node, bool leaves) {
  const os::MutexLock lock(mu_);
  core_.node_leaves(node, leaves);
}

std::vector<BlockId> Memory::blocks_kept() {
  const os::MutexLock lock(mu_);
  return core_.blocks_kept();
}

void Memory::give_up(std::vector<BlockId>& blocks, const std::vector<NodeId>& heirs) {
  const os::MutexLock lock(mu_);
  std::erase_if(blocks, [&](BlockId block) {
    const NodeId heir = heirs[block.value % heirs.size()];
    const bool gone = core_.give_up(block, heir, now_us(), effects_);
    carry_out();
    return gone;
  });
}

std::string Memory::why_kept(BlockId block) {
  const os::MutexLock lock(mu_);
  return core_.why_kept(block);
}

void Memory::keep_untouched() {
  const os::MutexLock lock(mu_);
  core_.keep_untouched();
}

void Memory::give_untouched() {
  const os::MutexLock lock(mu_);
  core_.give_untouched(now_us(), effects_);
  carry_out();
}

std::vector<std::pair<BlockId, NodeId>> Memory::given_homes() {
  const os::MutexLock lock(mu_);
  return core_.given_homes();
}

void Memory::home_given(BlockId first, std::uint64_t count, NodeId from, NodeId to) {
  const os::MutexLock lock(mu_);
  for (std::uint64_t i = 0; i < count; ++i) core_.home_given(BlockId{first.value + i}, from, to);
}

void Memory::anchors_are(std::uint64_t address, const std::vector<NodeId>& anchors) {
  const os::MutexLock lock(mu_);
  core_.anchors_are(page_of(address), anchors, now_us(), effects_);
  carry_out();
}

}  // namespace gallocy::runtime
