// Which processors the program's threads may use, and where its new threads go. A thread's affinity is kept where it
// is.
#include <errno.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstring>

#include "personality/guest_memory.h"
#include "personality/process.h"
#include "personality/processors.h"

namespace gallocy::personality {

// Before the program begins.
void Process::number_processors(const std::vector<std::uint32_t>& counts) {
  numbers_ = ProcessorNumbers(counts);
  if (nodes_ > 1) set_processor_numbers(self_.value, numbers_.first(self_), usable_processors());
}

// Where a new thread begins; it may belong elsewhere.
NodeId Process::place_thread(const GuestThread& parent, NodeId& belongs_on) {
  const NodeSet allowed = numbers_.nodes_of(affinity_set(parent.guest_tid));
  belongs_on = places_.next(allowed);
  const NodeId runs_on{runs_on_[belongs_on.value].load()};
  return allowed[runs_on.value] ? runs_on : belongs_on;
}

// Empty: it was never set.
ProcessorMask Process::affinity_set(int guest_tid) {
  const os::MutexLock lock(threads_mu_);
  const auto found = affinities_.find(guest_tid);
  return found != affinities_.end() ? found->second : ProcessorMask{};
}

// sched_setaffinity and sched_getaffinity, on the calling thread's node.
long Process::affinity_call(const GuestThread& thread, const Call& call) {
  const int guest_tid = call.arguments[0] == 0 ? thread.guest_tid : static_cast<int>(call.arguments[0]);
  const bool sets = call.number == SYS_sched_setaffinity;
  const std::uint64_t bytes = argument(call, 1);
  ProcessorMask mask;
  if (sets && !copy_in(mask.data(), argument(call, 2), std::min<std::uint64_t>(bytes, sizeof mask))) return -EFAULT;
  const long result = affinity_of(guest_tid, sets, mask);
  if (sets || result < 0) return result;
  if (bytes < static_cast<std::uint64_t>(result) || bytes % 8 != 0) return -EINVAL;
  return copy_out(argument(call, 2), mask.data(), static_cast<std::size_t>(result)) ? result : -EFAULT;
}

// Sets the affinity of a thread anywhere to `mask`, or `mask` to that: then the result is its size in bytes.
long Process::affinity_of(int guest_tid, bool sets, ProcessorMask& mask) {
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kAffinity,
                             .words = {static_cast<std::uint64_t>(guest_tid), sets ? 1u : 0u}};
  std::vector<std::byte> answer;
  const auto here = [&] { return affinity_here(guest_tid, sets, mask); };
  const long result = ask_about_thread(guest_tid, request, std::as_bytes(std::span(&mask, 1)), here, &answer);
  if (answer.size() == sizeof mask) std::memcpy(mask.data(), answer.data(), sizeof mask);
  return result;
}

// For the thread's file status.
AllowedFacts Process::allowed_facts(int guest_tid) {
  AllowedFacts facts;
  ProcessorMask mask;
  if (nodes_ == 1 || affinity_of(guest_tid, false, mask) < 0) return facts;
  facts.nodes = nodes_;
  facts.all_processors = std::min(numbers_.total(), ProcessorMask::kMost);
  for (unsigned i = 0; i < facts.all_processors; ++i) {
    if (mask.has(i)) facts.processors.push_back(i);
  }
  return facts;
}

// A thread that may not stay on this node goes to one of those that it names. On any thread, the poller too.
long Process::affinity_here(int guest_tid, bool sets, ProcessorMask& mask) {
  const os::MutexLock lock(threads_mu_);
  const auto thread = threads_.find(guest_tid);
  if (thread == threads_.end() && (!is_home() || away_.contains(guest_tid))) return -ESRCH;
  const auto own_bytes = static_cast<long>((numbers_.total() + 63) / 64 * 8);
  if (nodes_ == 1 || thread == threads_.end()) {  // or another process: processors have the kernel's numbers
    const long result = raw_system_call(sets ? SYS_sched_setaffinity : SYS_sched_getaffinity,
                                        thread != threads_.end() ? thread->second->tid : guest_tid, sizeof mask,
                                        reinterpret_cast<long>(mask.data()));
    return nodes_ == 1 ? result : std::min(result, own_bytes);
  }
  if (!sets) {
    const auto found = affinities_.find(guest_tid);
    mask = found != affinities_.end() ? found->second : numbers_.all();
    return own_bytes;
  }
  const ProcessorMask existing = numbers_.existing(mask);
  if (existing.empty()) return -EINVAL;
  if (existing == numbers_.all()) {
    affinities_.erase(guest_tid);
  } else {
    affinities_[guest_tid] = existing;
  }
  confine_thread(thread->second->tid, numbers_.of_node(existing, self_));
  if (const NodeSet nodes = numbers_.nodes_of(existing); threads_move_ && !nodes[self_.value]) {
    const NodeId to{static_cast<std::uint16_t>(nodes._Find_first())};
    thread->second->belongs_on = to;
    thread->second->move_to.store(to.value);
    kick_in_guest(*thread->second);
  }
  return 0;
}

// getcpu, where the C library does not take the vDSO's.
long Process::present_processor(const Call& call) {
  unsigned processor = 0, node = 0;
  raw_system_call(SYS_getcpu, reinterpret_cast<long>(&processor), reinterpret_cast<long>(&node));
  if (nodes_ > 1) {
    processor = processor_number(processor);
    node = self_.value;
  }
  if (argument(call, 0) != 0 && !store(argument(call, 0), processor)) return -EFAULT;
  return argument(call, 1) != 0 && !store(argument(call, 1), node) ? -EFAULT : 0;
}

}  // namespace gallocy::personality
