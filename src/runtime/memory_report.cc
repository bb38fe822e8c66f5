// What a node tells of its memory: counters, homes, room, the pages that nodes share most.
#include <bit>

#include "runtime/memory.h"

namespace gallocy::runtime {

std::vector<BlockId> Memory::take_new_homes() {
  const os::MutexLock lock(mu_);
  return std::exchange(new_homes_, {});
}

NodeId Memory::home_of(std::uint64_t address) {
  const os::MutexLock lock(mu_);
  if (engine_ == nullptr) return options_.coherence.self;
  address = window_address(address);
  if (!in_window(address) || find(address) == nullptr) return kNoNode;
  const BlockId block = block_of(page_of(address));
  return core_.touched(block) ? core_.home_of(block) : kNoNode;
}

Memory::Summary Memory::summary() {
  const os::MutexLock lock(mu_);
  Summary summary{.budget_pages = options_.coherence.budget_pages, .used_pages = core_.frames_in_use()};
  for (const BlockId block : core_.blocks_with_frames()) {
    summary.home_blocks += core_.home_of(block) == options_.coherence.self ? 1 : 0;
  }
  return summary;
}

std::uint64_t Memory::kept_pages() {
  const os::MutexLock lock(mu_);
  return core_.kept_pages();
}

void Memory::reserve(std::uint64_t pages) {
  const os::MutexLock lock(mu_);
  core_.reserve(pages, now_us(), effects_);
  carry_out();
}

std::uint64_t Memory::room_of(const std::vector<NodeId>& nodes) {
  const os::MutexLock lock(mu_);
  std::uint64_t pages = 0;
  for (const NodeId node : nodes) pages += core_.room(node);
  return pages;
}

std::uint64_t Memory::room_pages() {
  const os::MutexLock lock(mu_);
  const std::uint64_t budget = core_.budget();
  // Stale frames are kept for their next use while memory is plenty, but they are room.
  if (core_.frames_in_use() > budget / 2) {
    core_.trim(now_us(), effects_);
    carry_out();
  }
  return core_.frames_in_use() >= budget ? 0 : budget - core_.frames_in_use();
}

void Memory::add_statistics(Statistics& s) {
  const os::MutexLock lock(mu_);
  const coherence::Counters& c = core_.counters();
  s.read_faults += c.read_faults;
  s.write_faults += c.write_faults;
  s.local_faults += c.local_faults;
  s.pages_received += c.pages_received;
  s.pages_sent += c.pages_sent;
  s.invalidations += c.invalidations;
  s.prefetched += c.prefetched;
  s.evicted += c.evicted;
  s.spilled += c.spilled;
  s.resident_bytes += core_.frames_in_use() * kPageBytes;
  s.metadata_bytes += core_.metadata_bytes();
  s.fault_wait_ns += fault_wait_ns_.load(std::memory_order_relaxed);
}

std::vector<coherence::Core::SharedPage> Memory::most_handed_over(std::size_t most_pages) {
  const os::MutexLock lock(mu_);
  return core_.most_handed_over(most_pages);
}

std::string Memory::sharing_report(std::size_t most_pages) {
  const os::MutexLock lock(mu_);
  std::string report;
  for (const auto& shared : core_.most_handed_over(most_pages)) {
    const std::uint64_t address = address_of(shared.page);
    const Region* region = find(address);
    report += fmt::format("{:#x} \"{}\"+{:#x} handed over {} times;", address, region->name, address - region->address,
                          shared.hand_overs);
    std::uint64_t all = 0;
    bool apart = true;
    unsigned writers = 0;
    for (const auto& writer : shared.writers) {
      if (writer.node == kNoNode || writer.lines == 0) continue;
      apart = apart && (all & writer.lines) == 0;
      all |= writer.lines;
      ++writers;
      report += fmt::format(" node {} writes", writer.node);
      for (std::uint64_t lines = writer.lines; lines != 0; lines &= lines - 1) {
        report += fmt::format(" +{:#x}", std::countr_zero(lines) * 64);
      }
      report += ';';
    }
    if (apart && writers > 1) report += " never the same 64 bytes: false sharing";
    report += '\n';
  }
  return report;
}

}  // namespace gallocy::runtime
