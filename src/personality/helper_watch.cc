#include "personality/helper_watch.h"

#include <algorithm>

namespace gallocy::personality {

bool HelperWatch::changes(std::int64_t now_ns, const ThreadTimes& times, const HelperState& state) {
  const auto window = static_cast<double>(now_ns - began_ns_);
  const double active = static_cast<double>(times.active_ns - before_.active_ns) / window;
  const double faults = static_cast<double>(times.fault_ns - before_.fault_ns) / window;
  // It may have spun in faults, or been awake without a processor: it worked for no longer than either allows.
  const double processor = static_cast<double>(times.processor_ns - before_.processor_ns) / window;
  const double worked = std::min(processor, active - faults);
  begin(now_ns, times);
  if (state.from != kNoNode) return worked > kTooMuchWork;
  return now_ns - came_ns_ >= state.pause_ns && active <= 1 - kLeastAsleep && worked <= kMostWork &&
         faults >= std::max(worked, kLeastFaults);
}

HelperState HelperWatch::no_helper(const HelperState& before) {
  return {.pause_ns = std::clamp(2 * before.pause_ns, kShortestPauseNs, kLongestPauseNs)};
}

}  // namespace gallocy::personality
