#include "personality/helper_watch.h"

#include <gtest/gtest.h>

namespace gallocy::personality {
namespace {

constexpr NodeId kNode{3};

// A thread whose windows are full of the same.
class Thread {
 public:
  bool window(double active, double processor, double faults) {
    const auto of = [](double share) { return static_cast<std::int64_t>(share * HelperWatch::kWindowNs); };
    now_ns_ += HelperWatch::kWindowNs;
    times_.active_ns += of(active);
    times_.processor_ns += of(processor);
    times_.fault_ns += of(faults);
    EXPECT_TRUE(watch_.is_due(now_ns_));
    const bool changes = watch_.changes(now_ns_, times_, state_);
    EXPECT_FALSE(watch_.is_due(now_ns_));
    return changes;
  }
  void moves(HelperState state) {
    state_ = state;
    watch_ = HelperWatch(now_ns_);
    times_ = {};
  }
  const HelperState& state() const { return state_; }

 private:
  std::int64_t now_ns_ = 1;
  HelperWatch watch_{now_ns_};
  ThreadTimes times_;
  HelperState state_;
};

TEST(HelperWatch, who_sleeps_and_then_waits_for_pages_is_one) {
  Thread thread;
  EXPECT_TRUE(thread.window(0.4, 0.4, 0.27)) << "it spun while it waited";
}

TEST(HelperWatch, who_was_awake_without_a_processor_is_one_too) {
  Thread thread;
  EXPECT_TRUE(thread.window(0.5, 0.02, 0.1));
}

TEST(HelperWatch, others_are_none) {
  Thread thread;
  EXPECT_FALSE(thread.window(0.01, 0.01, 0.0)) << "it only sleeps: moving would gain nothing";
  EXPECT_FALSE(thread.window(0.2, 0.2, 0.05)) << "it computes for longer than it waits";
  EXPECT_FALSE(thread.window(0.5, 0.5, 0.3)) << "it computes much";
  EXPECT_FALSE(thread.window(1.0, 0.5, 0.97)) << "it does not sleep: what it shares with others has to be looked at";
}

TEST(HelperWatch, a_helper_that_begins_to_compute_is_none_for_longer_each_time) {
  Thread thread;
  std::int64_t before_ns = 0;
  for (int round = 0; round < 4; ++round) {
    std::int64_t windows = 1;
    while (!thread.window(0.3, 0.1, 0.28) && windows < 1000) ++windows;
    EXPECT_GT(windows * HelperWatch::kWindowNs, 2 * before_ns);
    before_ns = (windows - 1) * HelperWatch::kWindowNs;
    thread.moves(HelperWatch::helper_from(kNode, thread.state()));
    EXPECT_EQ(thread.state().from, kNode);
    EXPECT_FALSE(thread.window(0.2, 0.2, 0.01));
    EXPECT_TRUE(thread.window(0.5, 0.5, 0.01));
    thread.moves(HelperWatch::no_helper(thread.state()));
    EXPECT_EQ(thread.state().from, kNoNode);
  }
}

}  // namespace
}  // namespace gallocy::personality
