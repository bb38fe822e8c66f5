#include "wire/visit.h"

#include <gtest/gtest.h>

#include "base/prng.h"

namespace gallocy::wire {
namespace {

Returning returning() {
  return {.cluster = 0xfeed,
          .node = NodeId{3},
          .term = 4,
          .index = 500,
          .members = {{NodeId{1}, true, "10.0.0.1:7000"}, {NodeId{3}, false, "10.0.0.3:7000"}}};
}

TEST(VisitTest, every_body_comes_back) {
  LeaveRequest leave;
  ASSERT_TRUE(decode(encode(LeaveRequest{kNoNode}), leave));
  EXPECT_EQ(leave.node, kNoNode);

  Refusal refusal;
  ASSERT_TRUE(decode(encode(Refusal{78, "no"}), refusal));
  EXPECT_EQ(refusal.code, 78);
  EXPECT_EQ(refusal.message, "no");

  const Returning said = returning();
  Returning heard;
  ASSERT_TRUE(decode(encode(said), heard));
  EXPECT_EQ(heard.cluster, said.cluster);
  EXPECT_EQ(heard.node, said.node);
  EXPECT_EQ(heard.term, said.term);
  EXPECT_EQ(heard.index, said.index);
  EXPECT_EQ(heard.members, said.members);

  GoesOn goes_on;
  ASSERT_TRUE(decode(encode(GoesOn{true}), goes_on));
  EXPECT_TRUE(goes_on.may_join);
}

TEST(VisitTest, members_are_said_once_and_in_order) {
  Returning twice = returning(), heard;
  twice.members.push_back(twice.members.back());
  EXPECT_FALSE(decode(encode(twice), heard));
  Returning none = returning();
  none.members.back().node = kNoNode;
  EXPECT_FALSE(decode(encode(none), heard));
}

// Whatever comes, no decoder reads beyond its bytes, and a message that is cut off is none.
TEST(VisitTest, damaged_bytes_are_survived) {
  Prng prng(7);
  const Bytes said = encode(Refusal{70, "a node of the cluster was lost"}), returns = encode(returning());
  const auto cut = [](const Bytes& whole, std::size_t length) {
    return std::vector(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
  };
  for (std::size_t length = 0; length < said.size(); ++length) {
    Refusal refusal;
    EXPECT_FALSE(decode(cut(said, length), refusal));
  }
  for (std::size_t length = 0; length < returns.size(); ++length) {
    Returning returning;
    EXPECT_FALSE(decode(cut(returns, length), returning));
  }
  for (int i = 0; i < 20'000; ++i) {
    const Bytes& whole = i % 2 == 0 ? said : returns;
    Bytes damaged(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(prng.below(whole.size() + 1)));
    for (std::byte& byte : damaged) {
      if (prng.one_in(8)) byte = static_cast<std::byte>(prng());
    }
    LeaveRequest leave;
    Refusal refusal;
    Returning returning;
    GoesOn goes_on;
    (void)decode(damaged, leave), (void)decode(damaged, refusal);
    (void)decode(damaged, returning), (void)decode(damaged, goes_on);
  }
}

}  // namespace
}  // namespace gallocy::wire
