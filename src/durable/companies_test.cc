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
  const History history({.epoch = Epoch{1}, .nodes = members});
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
  History history({.epoch = Epoch{1}, .nodes = before});
  history.add({.epoch = Epoch{2}, .nodes = after});
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
  History history({.epoch = Epoch{1}, .nodes = before});
  history.add({.epoch = Epoch{2}, .nodes = after});
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
  History history({.epoch = Epoch{1}, .nodes = all});
  EXPECT_EQ(history.joined(NodeId{1}), Epoch{1});
  history.add({.epoch = Epoch{4}, .nodes = two});
  EXPECT_FALSE(history.is_member(NodeId{1}));
  history.add({.epoch = Epoch{5}, .nodes = all});
  EXPECT_EQ(history.joined(NodeId{1}), Epoch{5});
  EXPECT_EQ(history.joined(NodeId{0}), Epoch{1});
  for (std::uint64_t b = 0; b < 100; ++b) {
    const Company company = history.company(BlockId{b}, 2, Epoch{1});
    EXPECT_EQ(company[2], NodeId{1});  // last, whatever it was before
  }
}

TEST(Companies, take_no_bystander_in) {
  const auto bystanders = nodes({1, 3});
  History history({.epoch = Epoch{1}, .nodes = nodes({0, 1, 2, 3, 4}), .bystanders = bystanders});
  history.add({.epoch = Epoch{2}, .nodes = nodes({0, 1, 3, 4}), .bystanders = bystanders});
  history.add({.epoch = Epoch{3}, .nodes = nodes({0, 1, 3, 4, 5}), .leaver = NodeId{0}, .bystanders = bystanders});
  EXPECT_TRUE(history.is_member(NodeId{1}) && history.is_bystander(NodeId{1}));
  EXPECT_FALSE(history.is_bystander(NodeId{4}));
  for (std::uint64_t b = 0; b < 200; ++b) {
    const unsigned sizes[] = {3, 2, 3};  // the last with one that is about to leave
    for (std::uint32_t e = 1; e <= 3; ++e) {
      const Company company = history.company(BlockId{b}, 2, Epoch{1}, Epoch{e});
      EXPECT_EQ(company.size(), sizes[e - 1]) << b;
      EXPECT_FALSE(company.has(NodeId{1}) || company.has(NodeId{3})) << b;
    }
  }
}

TEST(Companies, of_nobody_but_bystanders_are_empty) {
  History history({.epoch = Epoch{1}, .nodes = nodes({0, 1}), .bystanders = nodes({1})});
  EXPECT_TRUE(history.has_keeping_members());
  history.add({.epoch = Epoch{2}, .nodes = nodes({1, 2}), .bystanders = nodes({1, 2})});
  EXPECT_FALSE(history.has_keeping_members());
  EXPECT_EQ(history.company(BlockId{7}, 1, Epoch{1}).size(), 0u);
  EXPECT_EQ(history.company(BlockId{7}, 1, Epoch{1}).primary(), kNoNode);
  history.add({.epoch = Epoch{3}, .nodes = nodes({1, 2}), .leaver = NodeId{2}, .bystanders = nodes({1, 2})});
  EXPECT_EQ(history.company(BlockId{7}, 1, Epoch{1}).size(), 0u);
  history.add({.epoch = Epoch{4}, .nodes = nodes({0, 1, 2}), .bystanders = nodes({1, 2})});
  EXPECT_EQ(history.company(BlockId{7}, 1, Epoch{1}).primary(), NodeId{0});
}

TEST(Companies, a_member_that_becomes_a_bystander_ends_the_node) {
  History history({.epoch = Epoch{1}, .nodes = nodes({0, 1})});
  EXPECT_DEATH(history.add({.epoch = Epoch{2}, .nodes = nodes({0, 1}), .bystanders = nodes({1})}), "is_bystander");
  // In another membership it may.
  history.add({.epoch = Epoch{2}, .nodes = nodes({0})});
  history.add({.epoch = Epoch{3}, .nodes = nodes({0, 1}), .bystanders = nodes({1})});
  EXPECT_TRUE(history.is_bystander(NodeId{1}));
}

}  // namespace
}  // namespace gallocy::durable
