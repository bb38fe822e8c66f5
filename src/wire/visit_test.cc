#include "wire/visit.h"

#include <gtest/gtest.h>

#include "base/prng.h"

namespace gallocy::wire {
namespace {

TEST(VisitTest, every_body_comes_back) {
  JoinRequest join;
  ASSERT_TRUE(decode(encode(JoinRequest{"10.0.0.1", 7000}), join));
  EXPECT_EQ(join.host, "10.0.0.1");
  EXPECT_EQ(join.port, 7000);

  JoinAnswer answer;
  ASSERT_TRUE(decode(encode(JoinAnswer{NodeId{5}, {{NodeId{0}, "a", 1}, {NodeId{4}, "b", 2}}}), answer));
  EXPECT_EQ(answer.node, NodeId{5});
  ASSERT_EQ(answer.members.size(), 2u);
  EXPECT_EQ(answer.members[1].node, NodeId{4});
  EXPECT_EQ(answer.members[1].host, "b");
  EXPECT_EQ(answer.members[1].port, 2);

  LeaveRequest leave;
  ASSERT_TRUE(decode(encode(LeaveRequest{kNoNode}), leave));
  EXPECT_EQ(leave.node, kNoNode);

  Refusal refusal;
  ASSERT_TRUE(decode(encode(Refusal{78, "no"}), refusal));
  EXPECT_EQ(refusal.code, 78);
  EXPECT_EQ(refusal.message, "no");
}

TEST(VisitTest, a_newcomer_that_is_not_the_last_is_refused) {
  JoinAnswer answer;
  EXPECT_FALSE(decode(encode(JoinAnswer{NodeId{4}, {{NodeId{4}, "a", 1}}}), answer));
  EXPECT_FALSE(decode(encode(JoinAnswer{NodeId{kMaxNodes}, {}}), answer));
}

// Whatever comes, no decoder reads beyond its bytes, and a message that is cut off is none.
TEST(VisitTest, damaged_bytes_are_survived) {
  Prng prng(7);
  const Bytes whole = encode(JoinAnswer{NodeId{5}, {{NodeId{0}, "10.0.0.1", 1}, {NodeId{4}, "10.0.0.2", 2}}});
  for (std::size_t length = 0; length < whole.size(); ++length) {
    JoinAnswer answer;
    EXPECT_FALSE(decode(std::vector(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)), answer));
  }
  for (int i = 0; i < 20'000; ++i) {
    Bytes damaged(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(prng.below(whole.size() + 1)));
    for (std::byte& byte : damaged) {
      if (prng.one_in(8)) byte = static_cast<std::byte>(prng());
    }
    JoinRequest join;
    JoinAnswer answer;
    LeaveRequest leave;
    Refusal refusal;
    (void)decode(damaged, join), (void)decode(damaged, answer), (void)decode(damaged, leave);
    (void)decode(damaged, refusal);
  }
}

}  // namespace
}  // namespace gallocy::wire
