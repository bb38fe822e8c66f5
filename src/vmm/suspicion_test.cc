#include "vmm/suspicion.h"

#include <gtest/gtest.h>

#include "base/prng.h"

namespace gallocy::vmm {
namespace {

constexpr std::uint64_t kBeat = 100'000, kSecond = 1'000'000;

// How long a peer may be silent from `now` on before it is suspected.
std::uint64_t patience(const Suspicion& suspicion, std::uint64_t now) {
  std::uint64_t silence = 0;
  while (!suspicion.suspected(now + silence)) silence += 10'000;
  return silence;
}

TEST(Suspicion, a_calm_peer_is_suspected_after_the_floor) {
  std::uint64_t now = kSecond;
  Suspicion suspicion({.floor_us = 4 * kSecond}, now);
  EXPECT_NEAR(static_cast<double>(patience(suspicion, now)), 4.0 * kSecond, 0.05 * kSecond)
      << "of whom nothing is known";
  for (int i = 0; i < 1000; ++i) suspicion.heard(now += kBeat);
  EXPECT_NEAR(static_cast<double>(patience(suspicion, now)), 4.0 * kSecond, 0.05 * kSecond);
}

TEST(Suspicion, grows_with_the_silence) {
  Suspicion suspicion({}, 0);
  double before = 0;
  for (std::uint64_t now = 0; now < 20 * kSecond; now += kBeat) {
    EXPECT_GE(suspicion.phi(now), before);
    before = suspicion.phi(now);
  }
  EXPECT_GT(before, 100);
}

TEST(Suspicion, any_sign_of_life_ends_the_silence) {
  Suspicion suspicion({}, 0);
  ASSERT_TRUE(suspicion.suspected(5 * kSecond));
  suspicion.noticed(5 * kSecond);
  EXPECT_FALSE(suspicion.suspected(8 * kSecond));
}

TEST(Suspicion, a_peer_that_is_often_late_gets_more_time) {
  std::uint64_t now = 0;
  Suspicion suspicion({.floor_us = 2 * kSecond}, now);
  Prng random(5);
  for (int i = 0; i < 1000; ++i) suspicion.heard(now += kBeat + random.below(2 * kSecond));
  EXPECT_GT(patience(suspicion, now), 4 * kSecond);
  EXPECT_LT(patience(suspicion, now), 12 * kSecond);
}

TEST(Suspicion, one_long_pause_is_remembered_for_a_window) {
  std::uint64_t now = 0;
  Suspicion suspicion({.floor_us = 2 * kSecond}, now);
  for (int i = 0; i < 300; ++i) suspicion.heard(now += kBeat);
  suspicion.heard(now += 19 * kSecond / 10);
  const std::uint64_t after_pause = patience(suspicion, now);
  EXPECT_GT(after_pause, 5 * kSecond);
  for (int i = 0; i < 300; ++i) suspicion.heard(now += kBeat);
  EXPECT_NEAR(static_cast<double>(patience(suspicion, now)), 2.0 * kSecond, 0.05 * kSecond);
}

// As the sums are kept up by differences, they must not drift.
TEST(Suspicion, a_year_of_heartbeats_changes_nothing) {
  std::uint64_t now = 0;
  Suspicion suspicion({.floor_us = 2 * kSecond}, now);
  Prng random(7);
  for (int i = 0; i < 3'000'000; ++i) suspicion.heard(now += kBeat / 2 + random.below(kBeat));
  for (int i = 0; i < 256; ++i) suspicion.heard(now += kBeat);
  EXPECT_NEAR(static_cast<double>(patience(suspicion, now)), 2.0 * kSecond, 0.05 * kSecond);
}

TEST(AwakeTime, leaves_out_what_was_slept) {
  AwakeTime awake(1000, kSecond / 2);
  EXPECT_EQ(awake.beat(1000 + kBeat), kBeat);
  EXPECT_EQ(awake.beat(1000 + kBeat + 60 * kSecond), 60 * kSecond);
  EXPECT_EQ(awake.now(), kBeat + kSecond / 2);
}

}  // namespace
}  // namespace gallocy::vmm
