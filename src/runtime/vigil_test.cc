#include "runtime/vigil.h"

#include <gtest/gtest.h>

namespace gallocy::runtime {
namespace {

constexpr NodeId kPeer{1};
constexpr std::uint64_t kMs = 1000;

class VigilTest : public ::testing::Test {
 protected:
  VigilTest() : vigil_(2, now_) { vigil_.begin(kPeer); }

  // One beat later; the reason why the peer is suspected, or nothing.
  std::string beat(bool speaks, std::uint64_t unanswered_us = 0, std::uint64_t pause_us = Vigil::kBeatUs) {
    if (speaks) vigil_.heard(kPeer, /*heartbeat=*/true);
    const auto suspects = vigil_.beat(now_ += pause_us, {kPeer}, [&](NodeId) { return unanswered_us; });
    return suspects.empty() ? "" : suspects.front().reason;
  }
  void talk(int beats) {
    for (int i = 0; i < beats; ++i) ASSERT_EQ(beat(true), "");
  }
  // How long the peer's machine may be silent, its process silent with it; milliseconds.
  std::uint64_t until_suspected() {
    for (std::uint64_t us = 0;; us += Vigil::kBeatUs) {
      // The first retransmission is due after 200 ms: until then the link says nothing.
      const std::string reason = beat(false, us <= 200 * kMs ? 0 : us);
      if (reason.empty()) continue;
      EXPECT_NE(reason.find("machine"), std::string::npos) << reason;
      return us / kMs;
    }
  }

  std::uint64_t now_ = 5'000'000;
  Vigil vigil_;
};

TEST_F(VigilTest, a_machine_that_does_not_answer_is_suspected_within_a_second) {
  talk(300);
  const std::uint64_t ms = until_suspected();
  EXPECT_GE(ms, 700u);
  EXPECT_LE(ms, 900u);
}

TEST_F(VigilTest, a_line_that_was_bad_lately_gets_more_time) {
  talk(300);
  for (const std::uint64_t ms : {300, 400, 500, 600}) EXPECT_EQ(beat(false, ms * kMs), "");
  talk(10);
  EXPECT_GT(until_suspected(), 1'500u);
}

TEST_F(VigilTest, a_process_that_does_not_speak_while_its_machine_answers_gets_seconds) {
  talk(300);
  int beats = 0;
  std::string reason;
  for (; reason.empty(); ++beats) reason = beat(false);
  EXPECT_NE(reason.find("silent"), std::string::npos) << reason;
  EXPECT_NEAR(beats, 50, 2);
}

TEST_F(VigilTest, any_frame_is_a_sign_of_life) {
  talk(10);
  for (int i = 0; i < 1000; ++i) {
    if (i % 40 == 0) vigil_.heard(kPeer, /*heartbeat=*/false);
    ASSERT_EQ(beat(false), "");
  }
}

// It may have been stopped, or starved, for an hour: what its peers said meanwhile it reads after this.
TEST_F(VigilTest, pauses_of_this_node_are_nobodys_silence) {
  talk(300);
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(beat(false, 0, 3'600'000 * kMs), "");
    talk(3);
  }
  ASSERT_EQ(beat(false, 3'600'000 * kMs, 3'600'000 * kMs), "");  // the first look at a machine after a pause
}

}  // namespace
}  // namespace gallocy::runtime
