#include "runtime/reunion.h"

#include <gmock/gmock.h>

namespace gallocy::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using wire::Returning;

constexpr std::uint64_t kCluster = 7;

Returning of(std::uint16_t node, std::uint64_t index, std::vector<std::uint16_t> members) {
  Returning returning{.cluster = kCluster, .node = NodeId{node}, .term = 3, .index = index, .members = {}};
  for (const std::uint16_t n : members)
    returning.members.push_back({NodeId{n}, true, fmt::format("10.0.0.{}:7000", n)});
  return returning;
}

std::vector<unsigned> numbers(const std::vector<Reunion::Member>& members) {
  std::vector<unsigned> numbers;
  for (const auto& member : members) numbers.push_back(member.node.value);
  return numbers;
}

TEST(Reunion, waits_for_all) {
  Reunion reunion(of(0, 5, {0, 1, 2}), {});
  ASSERT_TRUE(reunion.heard(of(1, 5, {0, 1, 2})));
  EXPECT_FALSE(reunion.is_complete());
  EXPECT_THAT(numbers(reunion.missing()), ElementsAre(2));
  ASSERT_TRUE(reunion.heard(of(2, 4, {0, 1, 2})));
  EXPECT_TRUE(reunion.is_complete());
  EXPECT_THAT(numbers(reunion.company()), ElementsAre(0, 1, 2));
}

// Node 2 was down when 3 joined and 1 left.
TEST(Reunion, believes_the_longest_log) {
  Reunion reunion(of(2, 5, {0, 1, 2}), {});
  ASSERT_TRUE(reunion.heard(of(0, 9, {0, 2, 3})));
  EXPECT_THAT(numbers(reunion.missing()), ElementsAre(3));
  ASSERT_TRUE(reunion.heard(of(3, 8, {0, 1, 2, 3})));
  EXPECT_TRUE(reunion.is_complete());
  EXPECT_EQ(reunion.says().index, 9u);
  EXPECT_EQ(reunion.says().node, NodeId{2});
  EXPECT_THAT(numbers(reunion.company()), ElementsAre(0, 2, 3));
}

TEST(Reunion, a_later_term_is_a_longer_log) {
  Returning later = of(1, 2, {0, 1});
  later.term = 4;
  Reunion reunion(of(0, 9, {0, 1, 2}), {});
  ASSERT_TRUE(reunion.heard(later));
  EXPECT_TRUE(reunion.is_complete());
}

TEST(Reunion, is_not_for_those_who_are_no_members_any_more) {
  Reunion reunion(of(2, 5, {0, 1, 2}), {});
  ASSERT_TRUE(reunion.heard(of(0, 9, {0, 1})));
  ASSERT_TRUE(reunion.heard(of(1, 9, {0, 1})));
  EXPECT_FALSE(reunion.is_complete());
  EXPECT_THAT(reunion.company(), IsEmpty());
}

TEST(Reunion, goes_without_programs_and_those_who_are_lost) {
  Returning mine = of(0, 5, {0, 1, 2, 3});
  mine.members[2].on_disk = false;
  Reunion reunion(mine, {NodeId{3}});
  ASSERT_TRUE(reunion.heard(of(1, 4, {0, 1})));
  EXPECT_TRUE(reunion.is_complete());
  EXPECT_THAT(reunion.absent(), ElementsAre(NodeId{2}, NodeId{3}));
}

TEST(Reunion, who_has_gone_again_is_missing) {
  Reunion reunion(of(0, 5, {0, 1}), {});
  ASSERT_TRUE(reunion.heard(of(1, 5, {0, 1})));
  reunion.ask_anew();
  EXPECT_FALSE(reunion.is_complete());
}

TEST(Reunion, is_of_one_cluster) {
  Reunion reunion(of(0, 5, {0, 1}), {});
  Returning other = of(1, 5, {0, 1});
  other.cluster = kCluster + 1;
  EXPECT_EQ(reunion.heard(other).error().code, ErrorCode::kConflict);
  EXPECT_FALSE(reunion.is_complete());
}

}  // namespace
}  // namespace gallocy::runtime
