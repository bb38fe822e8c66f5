#include "personality/thread_places.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gallocy::personality {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr NodeId kZero{0}, kOne{1}, kTwo{2}, kThree{3};

std::vector<NodeId> list_of(std::string_view place, std::uint16_t nodes = 4) {
  return nodes_to_use(place, nodes).value_or(std::vector<NodeId>{});
}
std::string complaint(std::string_view place) {
  const auto list = nodes_to_use(place, 4);
  return list ? "none" : list.error().message;
}
std::vector<NodeId> threads(ThreadPlaces& places, const NodeSet& allowed, int count) {
  std::vector<NodeId> found;
  for (int i = 0; i < count; ++i) found.push_back(places.next(allowed));
  return found;
}

const NodeSet kAll = NodeSet{}.set();

TEST(thread_places, words_and_lists) {
  EXPECT_THAT(list_of(""), ElementsAre(kOne, kTwo, kThree, kZero));
  EXPECT_THAT(list_of("spread"), ElementsAre(kOne, kTwo, kThree, kZero));
  EXPECT_THAT(list_of("spread", 1), ElementsAre(kZero));
  EXPECT_THAT(list_of("pack"), ElementsAre(kZero));
  EXPECT_THAT(list_of("2"), ElementsAre(kTwo));
  EXPECT_THAT(list_of("3,0,3,1"), ElementsAre(kThree, kZero, kThree, kOne));
}

TEST(thread_places, what_is_no_list_is_refused_with_the_words) {
  for (const auto* text : {"nowhere", ",", "1,", ",1", "1,,2", "1 ,2", "-1", "+1", "0x1", "1;2", "spread,1"}) {
    EXPECT_THAT(complaint(text), HasSubstr(std::string("'") + text + "'"));
  }
  EXPECT_THAT(complaint("1,4"), HasSubstr("node 4, but the nodes are 0 to 3"));
  EXPECT_THAT(complaint("99999999"), HasSubstr("node 99999999"));
}

TEST(thread_places, the_list_is_used_in_turn) {
  ThreadPlaces places(list_of("3,0,3"), kZero, 4);
  EXPECT_THAT(threads(places, kAll, 5), ElementsAre(kThree, kZero, kThree, kThree, kZero));
}

TEST(thread_places, makers_of_different_nodes_begin_at_different_places) {
  std::vector<NodeId> first;
  for (std::uint16_t n = 0; n < 4; ++n) first.push_back(ThreadPlaces(list_of("spread"), NodeId{n}, 4).next(kAll));
  EXPECT_THAT(first, ElementsAre(kOne, kTwo, kThree, kZero));
}

TEST(thread_places, an_affinity_leaves_nodes_out) {
  ThreadPlaces places(list_of("spread"), kZero, 4);
  const NodeSet allowed = NodeSet{}.set(0).set(2);
  EXPECT_THAT(threads(places, allowed, 4), ElementsAre(kTwo, kZero, kTwo, kZero));
}

TEST(thread_places, an_affinity_goes_before_the_list) {
  ThreadPlaces places(list_of("pack"), kZero, 4);
  EXPECT_THAT(threads(places, NodeSet{}.set(3), 2), ElementsAre(kThree, kThree));
}

}  // namespace
}  // namespace gallocy::personality
