// Threads that mostly wait for others (helper_watch.h) go on at the home, until they begin to compute.
#include "personality/helper_watch.h"
#include "personality/process.h"

namespace gallocy::personality {

// Called now and then on each node. On any thread, the poller too.
void Process::move_helpers() {
  if (!may_gather() || runs_on_[self_.value].load() != self_.value) return;
  const std::int64_t now_ns = os::monotonic_ns();
  const os::MutexLock lock(threads_mu_);
  for (const auto& [tid, thread] : threads_) {
    HelperWatch& watch = thread->helper_watch;
    if (!watch.is_due(now_ns)) continue;
    const ThreadTimes times = times_of(*thread, now_ns);
    const bool is_helper = thread->helper.from != kNoNode;
    const bool stays = tid == home_pid_ || thread->belongs_on != self_ || thread->leave_at_ns != 0 ||
                       affinities_.contains(tid) || is_helper != is_home();
    if (stays) {
      watch.begin(now_ns, times);
    } else if (watch.changes(now_ns, times, thread->helper)) {
      const NodeId to = is_helper ? thread->helper.from : kHome;
      thread->helper =
          is_helper ? HelperWatch::no_helper(thread->helper) : HelperWatch::helper_from(self_, thread->helper);
      thread->belongs_on = to;
      if (const auto place = runs_on_[to.value].load(); place != self_.value) {
        thread->move_to.store(place);
        kick_in_guest(*thread);
      }
    }
  }
}

}  // namespace gallocy::personality
