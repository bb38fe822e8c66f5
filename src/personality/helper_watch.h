// HelperWatch: whether a thread of the program is a *helper*: it mostly sleeps until others have something for it, and
// then waits for their pages rather than computes (it writes what they made, or hands out work). Such a thread is best
// off at the home, where the program's first thread and its files are, and hardly needs its processors. When it begins
// to compute there it is no helper any more, for longer each time.
//
// Pure. Threads: one at a time.
#pragma once

#include <cstdint>

#include "base/ids.h"

namespace gallocy::personality {

// What travels with a thread.
struct HelperState {
  NodeId from = kNoNode;      // where it belongs when it is no helper; kNoNode: it is none
  std::int64_t pause_ns = 0;  // it is none for so long after it came to a node
};

// Of a thread, since it came to the node.
struct ThreadTimes {
  std::int64_t active_ns = 0;     // but for blocking system calls
  std::int64_t processor_ns = 0;  // page faults included
  std::int64_t fault_ns = 0;      // in page faults, waiting included
};

class HelperWatch {
 public:
  static constexpr std::int64_t kWindowNs = 100'000'000;
  // Shares of the window.
  static constexpr double kLeastAsleep = 0.4, kMostWork = 0.15, kLeastFaults = 0.03;
  static constexpr double kTooMuchWork = 0.3;  // for a helper
  static constexpr std::int64_t kShortestPauseNs = 500'000'000, kLongestPauseNs = 64'000'000'000;

  // The thread has come to the node.
  explicit HelperWatch(std::int64_t now_ns = 0) : came_ns_(now_ns), began_ns_(now_ns) {}

  bool is_due(std::int64_t now_ns) const { return now_ns - began_ns_ >= kWindowNs; }
  // When it is due. True: the thread became a helper, or stopped being one.
  bool changes(std::int64_t now_ns, const ThreadTimes& times, const HelperState& state);
  // What happened so far does not count.
  void begin(std::int64_t now_ns, const ThreadTimes& times) { began_ns_ = now_ns, before_ = times; }

  static HelperState helper_from(NodeId node, const HelperState& before) { return {node, before.pause_ns}; }
  static HelperState no_helper(const HelperState& before);

 private:
  std::int64_t came_ns_ = 0, began_ns_ = 0;  // at the node; the window
  ThreadTimes before_;
};

}  // namespace gallocy::personality
