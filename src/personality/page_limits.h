// PageLimits: what the program may do with its pages on this node, whatever the coherence protocol allows: what it
// asked for itself (mprotect), and nothing as long as a page of a file mapping is unread (process_file_pages.cc), but
// that it may read what this node views.
//
// Common pages, which other processes have too, only the home may touch (process_common.cc).
//
// The limits asked for are the same on all nodes when a system call returns; what is unread a node may believe longer
// than it is true.
//
// Threads: any, the poller and fault handlers too. Nobody touches the program's memory under the lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

#include "os/mutex.h"
#include "personality/address_space_ranges.h"
#include "runtime/memory.h"

namespace gallocy::personality {

class PageLimits {
 public:
  explicit PageLimits(runtime::Memory& memory) : memory_(memory) {}

  void protect(std::uint64_t begin, std::uint64_t end, os::Protection most);
  void set_unread(std::uint64_t begin, std::uint64_t end);
  void set_read(std::uint64_t begin, std::uint64_t end);
  void set_viewed(std::uint64_t begin, std::uint64_t end, bool viewed);
  // kElsewhere: no thread of this node may touch them, whatever the program asked for.
  enum class Common : std::uint8_t { kNo, kElsewhere, kHere };
  void set_common(std::uint64_t begin, std::uint64_t end, Common common);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> viewed(std::uint64_t begin, std::uint64_t end) const;
  bool is_common(std::uint64_t address) const;
  bool is_of_kernel(std::uint64_t address) const;  // common or viewed
  // How often pages have become so.
  std::uint32_t times_of_kernel() const { return times_of_kernel_.load(); }
  // Readable and writable for the runtime, until restore().
  void lift(std::uint64_t begin, std::uint64_t end);
  void restore(std::uint64_t begin, std::uint64_t end);

  enum class Use : std::uint8_t { kRead, kWrite, kExecute };
  // kOfKernel: common or viewed here, and allowed: who could not a moment ago tries again. kCommon: not here.
  enum class Verdict : std::uint8_t { kAllowed, kForbidden, kUnread, kOfKernel, kCommon };
  Verdict judge(std::uint64_t address, Use use) const;

 private:
  void apply(std::uint64_t begin, std::uint64_t end) REQUIRES(mu_);

  runtime::Memory& memory_;
  mutable os::Mutex mu_;
  IntervalMap<os::Protection> asked_ GUARDED_BY(mu_){os::Protection::kReadWrite};
  IntervalMap<bool> unread_ GUARDED_BY(mu_){false}, viewed_ GUARDED_BY(mu_){false};  // what is viewed is unread, too
  IntervalMap<Common> common_ GUARDED_BY(mu_){Common::kNo};
  std::atomic<std::uint32_t> times_of_kernel_{0};  // faults ask, and should not take the lock for nothing
};

}  // namespace gallocy::personality
