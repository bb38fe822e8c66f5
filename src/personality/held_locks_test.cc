#include "personality/held_locks.h"

#include <gtest/gtest.h>

namespace gallocy::personality {
namespace {

constexpr std::uint64_t kPage = 0x206000004;

TEST(HeldLocks, a_page_without_locks_may_leave) {
  HeldLocks locks;
  EXPECT_FALSE(locks.keeps(kPage));
  locks.add(kPage);
  EXPECT_FALSE(locks.take_out(kPage));
  EXPECT_FALSE(locks.keeps(kPage));
}

TEST(HeldLocks, the_last_release_of_a_wanted_page_is_told_once) {
  HeldLocks locks;
  locks.add(kPage);
  locks.add(kPage);
  EXPECT_TRUE(locks.keeps(kPage));
  EXPECT_FALSE(locks.take_out(kPage));
  EXPECT_FALSE(locks.released(kPage));  // there is another
  EXPECT_TRUE(locks.take_out(kPage));
  EXPECT_TRUE(locks.released(kPage));
  EXPECT_FALSE(locks.released(kPage));
}

TEST(HeldLocks, a_page_is_kept_once_for_the_same_locks) {
  HeldLocks locks;
  locks.add(kPage);
  EXPECT_TRUE(locks.keeps(kPage));
  EXPECT_FALSE(locks.keeps(kPage));  // it has waited its time
  EXPECT_TRUE(locks.take_out(kPage));
  EXPECT_TRUE(locks.released(kPage));
  locks.add(kPage);
  EXPECT_TRUE(locks.keeps(kPage));
}

}  // namespace
}  // namespace gallocy::personality
