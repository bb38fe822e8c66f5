// ThreadTraces: what the threads of a node did when (`gallocy run --trace`), and how the home gets it from the others.
//
// Threads: any; a ring is its thread's (trace_ring.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "os/clock.h"
#include "os/mutex.h"
#include "personality/trace_ring.h"
#include "personality/trace_text.h"

namespace gallocy::personality {

class ThreadTraces {
 public:
  static constexpr std::size_t kMostThreads = 4096;  // later ones are not traced

  // A thread's, which begins now; null: there are too many.
  TraceRing* begin(int guest_tid);
  // The thread ends.
  void end(const TraceRing& ring);

  // Everything so far. clock_offset_ns: from this node's clock to the home's.
  std::vector<std::byte> records(std::int64_t clock_offset_ns);
  // What a node's records say; of ones that end too early, what is there.
  static std::vector<TraceTrack> tracks(std::uint16_t node, std::span<const std::byte> records);

 private:
  struct Trace {
    explicit Trace(int tid) : guest_tid(tid), begin_ns(os::monotonic_ns()) {}
    const int guest_tid;
    const std::int64_t begin_ns;
    std::int64_t end_ns = 0;  // 0: it runs
    TraceRing ring;
  };

  os::Mutex mu_;
  std::deque<Trace> traces_ GUARDED_BY(mu_);
};

}  // namespace gallocy::personality
