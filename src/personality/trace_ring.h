// What one thread of the program did, for `gallocy run --trace`: its last kMostEvents events.
//
// One thread adds; any may look. Adding takes no memory and no system call, so it may happen in a signal handler.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "os/mutex.h"

namespace gallocy::personality {

enum class TraceKind : std::uint32_t {
  kLife,        // of the thread, or of what is seen of it so far
  kCall,        // number, first two arguments, result
  kReadFault,   // the address
  kWriteFault,  // the address
  kSignal,      // number: delivered; begin_ns is end_ns
};

struct TraceEvent {
  TraceKind kind;
  std::int32_t number;
  std::int64_t begin_ns, end_ns;  // os::monotonic_ns()
  std::uint64_t a, b;
  std::int64_t result;
};
static_assert(sizeof(TraceEvent) == 48);

class TraceRing {
 public:
  static constexpr std::size_t kMostEvents = 1 << 16;  // 3 MiB for each thread that gets so far

  void add(const TraceEvent& event) {
    const os::MutexLock lock(mu_);
    events_[count_++ % kMostEvents] = event;
  }
  // In the order in which they were added. Of those before `dropped` is the number.
  std::vector<TraceEvent> events(std::uint64_t& dropped) const {
    const os::MutexLock lock(mu_);
    dropped = count_ > kMostEvents ? count_ - kMostEvents : 0;
    std::vector<TraceEvent> all;
    for (std::uint64_t i = dropped; i < count_; ++i) all.push_back(events_[i % kMostEvents]);
    return all;
  }

 private:
  mutable os::Mutex mu_;
  std::uint64_t count_ GUARDED_BY(mu_) = 0;
  // Not initialised: memory that no event reached is not used.
  const std::unique_ptr<TraceEvent[]> events_ = std::make_unique_for_overwrite<TraceEvent[]>(kMostEvents);
};

}  // namespace gallocy::personality
