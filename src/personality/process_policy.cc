// Memory policies: the home of a block moves, or begins, where the program wants its memory. Whose thread writes a page
// has it all the same; the home is where others find it.
#include <errno.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstring>

#include "personality/guest_memory.h"
#include "personality/process.h"

namespace gallocy::personality {
namespace {

constexpr std::int64_t kGiveForNs = 20'000'000;
constexpr int kHomeTries = 1000;  // while a home is on its way nobody is it

std::uint64_t down_to_page(std::uint64_t address) { return address & ~(kPageBytes - 1); }
std::uint64_t up_to_page(std::uint64_t address) { return down_to_page(address + kPageBytes - 1); }

std::optional<MemoryPolicy> policy_in(std::uint64_t mode, std::uint64_t mask_at, std::uint64_t maxnode,
                                      std::uint16_t nodes, long& error) {
  error = -EINVAL;
  const auto words = words_of_mask(mask_at == 0 ? 0 : maxnode);
  if (!words) return std::nullopt;
  std::vector<std::uint64_t> mask(*words);
  error = -EFAULT;
  if (!mask.empty() && !copy_in(mask.data(), mask_at, mask.size() * 8)) return std::nullopt;
  error = -EINVAL;
  return memory_policy(static_cast<int>(mode), mask, mask.empty() ? 0 : maxnode - 1, nodes);
}

}  // namespace

// At the home, for a thread anywhere.
long Process::policy_call(const GuestThread* thread, const Call& call) {
  const int tid = thread != nullptr ? thread->guest_tid : home_pid_;
  const auto a = [&](int i) { return argument(call, i); };
  long error = 0;
  switch (call.number) {
    case SYS_set_mempolicy: {
      const auto policy = policy_in(a(0), a(1), a(2), nodes_, error);
      if (!policy) return error;
      set_policy(tid, *policy);
      return 0;
    }
    case SYS_mbind: {
      constexpr std::uint64_t kMoves = MPOL_MF_MOVE | MPOL_MF_MOVE_ALL;
      const std::uint64_t end = up_to_page(a(0) + a(1));
      const auto policy = policy_in(a(2), a(3), a(4), nodes_, error);
      if (!policy) return error;
      if (a(0) % kPageBytes != 0 || end < a(0) || (a(5) & ~(kMoves | MPOL_MF_STRICT)) != 0) return -EINVAL;
      if (!is_mapped(a(0), end)) return -EFAULT;
      give_homes(a(0), end, *policy, (a(5) & kMoves) != 0);
      return 0;
    }
    case SYS_get_mempolicy:
      return policy_of(tid, call);
    case SYS_move_pages:
      return move_pages(tid, call);
    default:  // migrate_pages: homes move one by one
      return 0;
  }
}

void Process::set_policy(int guest_tid, const MemoryPolicy& policy) {
  {
    const std::lock_guard lock(space_mu_);
    Changes none;
    brk_placed_.store(static_cast<std::uint64_t>(space_->set_brk(0, none)));
  }
  const os::MutexLock lock(policies_mu_);
  policies_[guest_tid] = policy;
  any_policy_.store(true);
}

// A thread that has set none has the first thread's.
MemoryPolicy Process::policy(int guest_tid) {
  const os::MutexLock lock(policies_mu_);
  for (const int tid : {guest_tid, home_pid_}) {
    if (const auto found = policies_.find(tid); found != policies_.end()) return found->second;
  }
  return {};
}

void Process::forget_policy(int guest_tid) {
  const os::MutexLock lock(policies_mu_);
  policies_.erase(guest_tid);
}

long Process::policy_of(int guest_tid, const Call& call) {
  const auto a = [&](int i) { return argument(call, i); };
  const std::uint64_t flags = a(4);
  const MemoryPolicy present = policy(guest_tid);
  std::int32_t mode = present.mode | present.flags;
  std::vector<NodeId> nodes = present.nodes;
  if ((flags & ~std::uint64_t{MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED}) != 0) return -EINVAL;
  if ((flags & MPOL_F_ADDR) != 0 && !is_mapped(down_to_page(a(3)), down_to_page(a(3)) + kPageBytes)) return -EFAULT;
  if ((flags & MPOL_F_NODE) != 0) {
    // Without an address: where interleaving would go on, which depends on the block here.
    if ((flags & MPOL_F_ADDR) == 0) return -EINVAL;
    mode = home_of_page(guest_tid, a(3)).value;
  }
  if ((flags & MPOL_F_MEMS_ALLOWED) != 0) {
    nodes.clear();
    for (std::uint16_t n = 0; n < nodes_; ++n) nodes.push_back(NodeId{n});
  }
  if (a(0) != 0 && !store(a(0), mode)) return -EFAULT;
  if (a(1) == 0) return 0;
  const auto words = words_of_mask(a(2) + 1);
  if (!words || *words * 64 < nodes_) return -EINVAL;
  std::vector<std::uint64_t> mask(*words);
  for (const NodeId node : nodes) mask[node.value / 64] |= std::uint64_t{1} << (node.value % 64);
  return copy_out(a(1), mask.data(), mask.size() * 8) ? 0 : -EFAULT;
}

long Process::move_pages(int guest_tid, const Call& call) {
  constexpr std::uint64_t kMostPages = 1 << 20;
  const std::uint64_t count = argument(call, 1), pages_at = argument(call, 2), nodes_at = argument(call, 3);
  if (count > kMostPages) return -E2BIG;
  std::vector<std::uint64_t> pages(count);
  std::vector<std::int32_t> nodes(count), status(count);
  if (!copy_in(pages.data(), pages_at, count * 8)) return -EFAULT;
  if (nodes_at != 0 && !copy_in(nodes.data(), nodes_at, count * 4)) return -EFAULT;
  for (const std::int32_t node : nodes) {
    if (node < 0 || node >= nodes_) return -ENODEV;
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t page = down_to_page(pages[i]);
    status[i] = -ENOENT;
    if (!is_mapped(page, page + kPageBytes)) continue;
    if (nodes_at != 0) {
      const MemoryPolicy there{.mode = MPOL_BIND, .nodes = {NodeId{static_cast<std::uint16_t>(nodes[i])}}};
      give_homes(page, page + kPageBytes, there, true);
    }
    status[i] = home_of_page(guest_tid, page).value;
  }
  return argument(call, 4) == 0 || copy_out(argument(call, 4), status.data(), count * 4) ? 0 : -EFAULT;
}

bool Process::is_mapped(std::uint64_t begin, std::uint64_t end) {
  std::uint64_t mapped = 0;
  const std::lock_guard lock(space_mu_);
  space_->visit(begin, end, [&](const Area& area) { mapped += std::min(area.end, end) - std::max(area.begin, begin); });
  return mapped == end - begin;
}

// All nodes give away what is to have its home elsewhere; then the nodes that shall have it touch what nobody has.
void Process::give_homes(std::uint64_t begin, std::uint64_t end, const MemoryPolicy& policy, bool moves_pages) {
  if (nodes_ == 1 || policy.nodes.empty() || begin == end) return;
  std::vector<std::byte> list(sizeof(int) + policy.nodes.size() * sizeof(NodeId));
  std::memcpy(list.data(), &policy.mode, sizeof(int));
  std::memcpy(list.data() + sizeof(int), policy.nodes.data(), policy.nodes.size() * sizeof(NodeId));
  // A block that somebody uses just now would rest soon, but one in constant use may never.
  const std::int64_t deadline = os::monotonic_ns() + (moves_pages ? kGiveForNs : 0);
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kGiveHomes, .words = {begin, end}};
  for (std::uint16_t n = 0; n < nodes_; ++n) {
    const auto given = [&] {
      return NodeId{n} == self_ ? give_homes_here(begin, end, policy) : questions_.ask(NodeId{n}, request, list) == 0;
    };
    while (!given() && os::monotonic_ns() < deadline) {
    }
  }
  request = {.kind = wire::GuestRequestKind::kTakeHomes, .words = {begin, end, moves_pages ? 1u : 0u}};
  questions_.ask_all(request, list);
  take_homes_here(begin, end, policy, moves_pages);
}

// What travels with kGiveHomes and kTakeHomes.
std::optional<MemoryPolicy> Process::policy_sent(std::span<const std::byte> list) const {
  MemoryPolicy policy;
  if (list.size() < sizeof(int) + sizeof(NodeId) || (list.size() - sizeof(int)) % sizeof(NodeId) != 0)
    return std::nullopt;
  std::memcpy(&policy.mode, list.data(), sizeof(int));
  policy.nodes.resize((list.size() - sizeof(int)) / sizeof(NodeId));
  std::memcpy(policy.nodes.data(), list.data() + sizeof(int), policy.nodes.size() * sizeof(NodeId));
  return policy;
}

// On the poller, too. False: not all could go now.
bool Process::give_homes_here(std::uint64_t begin, std::uint64_t end, const MemoryPolicy& policy) {
  bool all = true;
  for (std::uint64_t at = begin & ~(kBlockBytes - 1); at < end; at += kBlockBytes) {
    const auto home = policy.home_of(block_of(page_of(at)));
    if (home && *home != self_) all = runtime_.memory().give_home(at, *home) && all;
  }
  return all;
}

void Process::take_homes_here(std::uint64_t begin, std::uint64_t end, const MemoryPolicy& policy, bool moves_pages) {
  for (std::uint64_t at = begin & ~(kBlockBytes - 1); at < end; at += kBlockBytes) {
    if (policy.home_of(block_of(page_of(at))) != self_) continue;
    const std::uint64_t first = std::max(at, begin), last = std::min(at + kBlockBytes, end);
    if (moves_pages) {
      (void)runtime_.memory().prefault(first, last - first, Access::kWrite);
    } else if (runtime_.memory().home_of(first) != self_) {
      (void)runtime_.memory().prefault(first, 1, Access::kRead);
    }
  }
}

// A page that nobody has touched begins where the thread is that asks, as natively.
NodeId Process::home_of_page(int guest_tid, std::uint64_t address) {
  for (int i = 0; i < kHomeTries; ++i) {
    for (std::uint16_t n = 0; n < nodes_; ++n) {
      wire::GuestRequest request{.kind = wire::GuestRequestKind::kIsHome, .words = {address}};
      if (NodeId{n} == self_ ? runtime_.memory().home_of(address) == self_ : questions_.ask(NodeId{n}, request) != 0)
        return NodeId{n};
    }
    const NodeId asking = node_of_caller(guest_tid);
    give_homes(down_to_page(address), down_to_page(address) + 1, {.mode = MPOL_BIND, .nodes = {asking}}, false);
  }
  return self_;
}

// Behind a call of the mmap family: what it has made usable begins where the thread wants its memory.
void Process::place_new_memory(const GuestThread* thread, const Call& call, long result) {
  if (!any_policy_.load() || result < 0) return;
  const auto a = [&](int i) { return argument(call, i); };
  const MemoryPolicy wanted = policy(thread != nullptr ? thread->guest_tid : home_pid_);
  constexpr std::uint64_t kOwnBlocks = 64 << 10;  // smaller areas share blocks (AddressSpace)
  const auto begin = static_cast<std::uint64_t>(result);
  if (call.number == SYS_mmap && (a(3) & MAP_ANONYMOUS) != 0 && a(2) != PROT_NONE && a(1) >= kOwnBlocks) {
    give_homes(begin, up_to_page(begin + a(1)), wanted, false);
  }
  // Memory that was reserved before. It may be in use, too; then nothing but a page travels in vain.
  if (call.number == SYS_mprotect && (a(2) & PROT_WRITE) != 0) give_homes(a(0), up_to_page(a(0) + a(1)), wanted, false);
  if (call.number == SYS_brk) {
    const std::uint64_t placed = brk_placed_.exchange(begin);
    if (placed < begin) give_homes(up_to_page(placed), up_to_page(begin), wanted, false);
  }
}

}  // namespace gallocy::personality
