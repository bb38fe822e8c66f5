#include "personality/futex_table.h"

#include <gtest/gtest.h>

namespace gallocy::personality {
namespace {

constexpr FutexWaiter kFirst{NodeId{0}, 1}, kSecond{NodeId{1}, 1}, kThird{NodeId{1}, 2};
constexpr std::uint32_t kAny = ~0u;

TEST(FutexTable, wakes_first_come_first_served) {
  FutexTable table;
  table.enlist(0x1000, kAny, kFirst);
  table.enlist(0x1000, kAny, kSecond);
  EXPECT_EQ(table.wake(0x1000, 1, kAny), std::vector{kFirst});
  EXPECT_EQ(table.wake(0x1000, 5, kAny), std::vector{kSecond});
  EXPECT_EQ(table.sleepers(), 0u);
}

TEST(FutexTable, bits_choose_whom_to_wake) {
  FutexTable table;
  table.enlist(0x1000, 1, kFirst);
  table.enlist(0x1000, 2, kSecond);
  EXPECT_EQ(table.wake(0x1000, 5, 2), std::vector{kSecond});
  EXPECT_EQ(table.sleepers(), 1u);
}

TEST(FutexTable, one_that_was_woken_cannot_be_taken_out) {
  FutexTable table;
  table.enlist(0x1000, kAny, kFirst);
  table.enlist(0x1000, kAny, kSecond);
  (void)table.wake(0x1000, 1, kAny);
  EXPECT_FALSE(table.take_out(kFirst));
  EXPECT_TRUE(table.take_out(kSecond));
}

TEST(FutexTable, who_was_moved_to_another_word_is_woken_there) {
  FutexTable table;
  table.enlist(0x1000, kAny, kFirst);
  table.enlist(0x1000, kAny, kSecond);
  EXPECT_EQ(table.requeue(0x1000, 0x2000, 1), 1u);
  EXPECT_EQ(table.wake(0x2000, 5, kAny), std::vector{kFirst});
  EXPECT_EQ(table.wake(0x1000, 5, kAny), std::vector{kSecond});
}

TEST(FutexTable, a_range_wakes_all_that_sleep_in_it) {
  FutexTable table;
  table.enlist(0x0ffc, kAny, kFirst);
  table.enlist(0x1000, kAny, kSecond);
  table.enlist(0x1ffc, 4, kThird);
  EXPECT_EQ(table.wake_range(0x1000, 0x2000).size(), 2u);
  EXPECT_EQ(table.sleepers(), 1u);
  EXPECT_TRUE(table.take_out(kFirst));
}

}  // namespace
}  // namespace gallocy::personality
