#include "wire/visit.h"

#include <gtest/gtest.h>

#include "base/prng.h"

namespace gallocy::wire {
namespace {

TEST(VisitTest, every_body_comes_back) {
  LeaveRequest leave;
  ASSERT_TRUE(decode(encode(LeaveRequest{kNoNode}), leave));
  EXPECT_EQ(leave.node, kNoNode);

  Refusal refusal;
  ASSERT_TRUE(decode(encode(Refusal{78, "no"}), refusal));
  EXPECT_EQ(refusal.code, 78);
  EXPECT_EQ(refusal.message, "no");
}

// Whatever comes, no decoder reads beyond its bytes, and a message that is cut off is none.
TEST(VisitTest, damaged_bytes_are_survived) {
  Prng prng(7);
  const Bytes whole = encode(Refusal{70, "a node of the cluster was lost"});
  for (std::size_t length = 0; length < whole.size(); ++length) {
    Refusal refusal;
    EXPECT_FALSE(decode(std::vector(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)), refusal));
  }
  for (int i = 0; i < 20'000; ++i) {
    Bytes damaged(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(prng.below(whole.size() + 1)));
    for (std::byte& byte : damaged) {
      if (prng.one_in(8)) byte = static_cast<std::byte>(prng());
    }
    LeaveRequest leave;
    Refusal refusal;
    (void)decode(damaged, leave), (void)decode(damaged, refusal);
  }
}

}  // namespace
}  // namespace gallocy::wire
