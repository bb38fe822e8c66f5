#include "runtime/lease.h"

#include <gtest/gtest.h>

namespace gallocy::runtime {
namespace {

constexpr NodeId kSelf{1}, kA{0}, kB{2};
constexpr Epoch kFirst{1}, kLater{5};
constexpr Lease::Peer kThree[] = {{kA, kFirst}, {kSelf, kFirst}, {kB, kFirst}};
constexpr Lease::Peer kTwo[] = {{kA, kFirst}, {kSelf, kFirst}};
constexpr Lease::Peer kAnotherLife[] = {{kA, kFirst}, {kSelf, kFirst}, {kB, kLater}};

TEST(Lease, holds_from_when_the_question_was_sent_that_was_answered_last) {
  Lease lease(kSelf);
  lease.members(kThree);
  EXPECT_FALSE(lease.held(1'000));
  lease.answered(kA, 1'000);
  EXPECT_FALSE(lease.held(1'000)) << "one of them has not answered";
  lease.answered(kB, 2'000);
  EXPECT_TRUE(lease.held(999 + Lease::kLeaseUs));
  EXPECT_FALSE(lease.held(1'000 + Lease::kLeaseUs));
  lease.answered(kA, 5'000);
  lease.answered(kA, 3'000);  // late
  EXPECT_TRUE(lease.held(1'999 + Lease::kLeaseUs));
  EXPECT_FALSE(lease.held(2'000 + Lease::kLeaseUs));
}

TEST(Lease, is_over_when_a_connection_breaks_until_the_log_says_who_is_out) {
  Lease lease(kSelf);
  lease.members(kThree);
  lease.answered(kA, 1'000);
  lease.answered(kB, 1'000);
  lease.connection_lost(kB);
  EXPECT_FALSE(lease.held(1'000));
  lease.answered(kB, 1'000);
  EXPECT_FALSE(lease.held(1'000));
  lease.members(kTwo);
  EXPECT_TRUE(lease.held(1'000));
  lease.members(kAnotherLife);
  EXPECT_FALSE(lease.held(1'000));
  lease.answered(kB, 1'000);
  EXPECT_TRUE(lease.held(1'000));
}

// The end of one life and the beginning of the next may come in one piece of the log.
TEST(Lease, knows_another_life_from_the_one_whose_connection_broke) {
  Lease lease(kSelf);
  lease.members(kThree);
  lease.answered(kA, 1'000);
  lease.connection_lost(kB);
  lease.members(kAnotherLife);
  EXPECT_FALSE(lease.held(1'000));
  lease.answered(kB, 1'000);
  EXPECT_TRUE(lease.held(1'000));
}

TEST(Lease, holds_again_with_the_next_life_whose_predecessor_was_missed_late) {
  Lease lease(kSelf);
  lease.members(kThree);
  lease.answered(kA, 1'000);
  lease.members(kAnotherLife);
  lease.connection_lost(kB);  // that of the life before
  lease.connection_made(kB);
  EXPECT_FALSE(lease.held(1'000));
  lease.answered(kB, 1'000);
  EXPECT_TRUE(lease.held(1'000));
}

TEST(Lease, of_a_node_alone_holds) {
  Lease lease(kSelf);
  lease.members(std::span(kThree).subspan(1, 1));
  EXPECT_TRUE(lease.held(~std::uint64_t{0}));
}

}  // namespace
}  // namespace gallocy::runtime
