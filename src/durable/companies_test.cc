#include "durable/companies.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace gallocy::durable {
namespace {

std::vector<NodeId> nodes(std::initializer_list<unsigned> numbers) {
  std::vector<NodeId> result;
  for (const unsigned n : numbers) result.push_back(NodeId{static_cast<std::uint16_t>(n)});
  return result;
}

TEST(Companies, have_different_members_and_are_scattered) {
  const auto members = nodes({0, 1, 2, 3, 4, 5, 6, 7});
  const History history(Epoch{1}, members);
  unsigned led[8] = {};
  for (std::uint64_t b = 0; b < 8000; ++b) {
    const Company company = history.company(BlockId{b}, 2, Epoch{1});
    ASSERT_EQ(company.size(), 3u);
    EXPECT_TRUE(company[0] != company[1] && company[1] != company[2] && company[0] != company[2]);
    ++led[company.primary().value];
  }
  for (const unsigned count : led) {
    EXPECT_GT(count, 800u);
    EXPECT_LT(count, 1200u);
  }
}

TEST(Companies, of_others_than_the_dead_do_not_change) {
  const auto before = nodes({0, 1, 2, 3, 4, 5}), after = nodes({0, 1, 2, 4, 5});
  History history(Epoch{1}, before);
  history.add(Epoch{2}, after);
  unsigned new_members[6] = {};
  for (std::uint64_t b = 0; b < 6000; ++b) {
    const Company was = history.company(BlockId{b}, 1, Epoch{1}, Epoch{1});
    const Company now = history.company(BlockId{b}, 1, Epoch{1});
    EXPECT_EQ(now, history.successor(was, BlockId{b}, 1));
    if (!was.has(NodeId{3})) {
      EXPECT_EQ(now, was);
      continue;
    }
    EXPECT_EQ(now.primary(), was[0] == NodeId{3} ? was[1] : was[0]);  // has the data
    ++new_members[now[1].value];
  }
  // All that are left help.
  for (const NodeId node : after) EXPECT_GT(new_members[node.value], 250u) << node.value;
}

TEST(Companies, take_nobody_in_while_they_are_full) {
  const auto before = nodes({0, 1, 2}), after = nodes({0, 1, 2, 3});
  History history(Epoch{1}, before);
  history.add(Epoch{2}, after);
  bool in_new = false;
  for (std::uint64_t b = 0; b < 100; ++b) {
    EXPECT_EQ(history.company(BlockId{b}, 1, Epoch{1}), history.company(BlockId{b}, 1, Epoch{1}, Epoch{1}));
    // Of a region that was mapped later, the new node has its share.
    in_new = in_new || history.company(BlockId{b}, 1, Epoch{2}).has(NodeId{3});
    const Company too_small = history.company(BlockId{b}, 3, Epoch{1});
    EXPECT_EQ(too_small.size(), 4u);
    EXPECT_EQ(too_small[3], NodeId{3});
  }
  EXPECT_TRUE(in_new);
}

TEST(Companies, a_node_that_comes_back_is_another) {
  const auto all = nodes({0, 1, 2}), two = nodes({0, 2});
  History history(Epoch{1}, all);
  EXPECT_EQ(history.joined(NodeId{1}), Epoch{1});
  history.add(Epoch{4}, two);
  EXPECT_FALSE(history.is_member(NodeId{1}));
  history.add(Epoch{5}, all);
  EXPECT_EQ(history.joined(NodeId{1}), Epoch{5});
  EXPECT_EQ(history.joined(NodeId{0}), Epoch{1});
  for (std::uint64_t b = 0; b < 100; ++b) {
    const Company company = history.company(BlockId{b}, 2, Epoch{1});
    EXPECT_EQ(company[2], NodeId{1});  // last, whatever it was before
  }
}

}  // namespace
}  // namespace gallocy::durable
