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

// Three founders; another node joins and settles, step by step.
class Settling : public testing::Test {
 protected:
  Settling() : history_({.epoch = Epoch{1}, .nodes = nodes({0, 1, 2})}) {}
  void add(std::initializer_list<unsigned> members, unsigned settler = 0, SettleStep step = SettleStep::kNone,
           NodeId leaver = kNoNode) {
    history_.add({.epoch = Epoch{history_.latest().value + 1},
                  .nodes = nodes(members),
                  .leaver = leaver,
                  .settler = settler == 0 ? kNoNode : NodeId{static_cast<std::uint16_t>(settler)},
                  .step = step});
  }
  Company in(std::uint64_t block, std::uint32_t epoch) const {
    return history_.company(BlockId{block}, 1, Epoch{1}, Epoch{epoch});
  }
  // As if the region were mapped now.
  Company best(std::uint64_t block) const { return history_.company(BlockId{block}, 1, history_.latest()); }

  History history_;
  static constexpr std::uint64_t kBlocks = 4000;
};

TEST_F(Settling, gives_the_newcomer_its_share) {
  add({0, 1, 2, 3});
  add({0, 1, 2, 3}, 3, SettleStep::kTakenIn);
  add({0, 1, 2, 3}, 3, SettleStep::kTakesOver);
  add({0, 1, 2, 3}, 0, SettleStep::kSettled);
  unsigned kept[4] = {}, led_no_more = 0;
  for (std::uint64_t b = 0; b < kBlocks; ++b) {
    const Company before = in(b, 2), taken_in = in(b, 3), takes_over = in(b, 4), settled = in(b, 5);
    EXPECT_EQ(before, in(b, 1));
    ASSERT_EQ(settled.size(), 2u);
    const Company should = best(b);
    EXPECT_TRUE(should.has(settled[0]) && should.has(settled[1])) << b;
    for (unsigned i = 0; i < 2; ++i) ++kept[settled[i].value];
    if (!settled.has(NodeId{3})) {
      EXPECT_TRUE(settled == before && taken_in == before && takes_over == before) << b;
      continue;
    }
    ASSERT_TRUE(taken_in.size() == 3 && takes_over.size() == 3) << b;
    EXPECT_TRUE(taken_in[0] == before[0] && taken_in[1] == before[1] && taken_in[2] == NodeId{3}) << b;
    // Who goes is a member yet, and not the primary.
    EXPECT_FALSE(settled.has(takes_over[2])) << b;
    EXPECT_TRUE(before.has(takes_over[2]) && settled.primary() == takes_over.primary()) << b;
    led_no_more += before.primary() != settled.primary();
  }
  for (const unsigned count : kept) {
    EXPECT_GT(count, kBlocks * 2 / 4 * 9 / 10);
    EXPECT_LT(count, kBlocks * 2 / 4 * 11 / 10);
  }
  EXPECT_EQ(led_no_more, 0u);  // founders' primaries have the highest score
}

// Who has settled has a higher score than the primary of some blocks. Then that is the one to go next.
TEST_F(Settling, a_primary_with_the_lowest_score_goes_as_well) {
  add({0, 1, 2, 3}, 3, SettleStep::kTakenIn);
  add({0, 1, 2, 3}, 3, SettleStep::kTakesOver);
  add({0, 1, 2, 3}, 0, SettleStep::kSettled);
  add({0, 1, 2, 3, 4}, 4, SettleStep::kTakenIn);
  add({0, 1, 2, 3, 4}, 4, SettleStep::kTakesOver);
  add({0, 1, 2, 3, 4}, 0, SettleStep::kSettled);
  unsigned gone = 0;
  for (std::uint64_t b = 0; b < kBlocks; ++b) {
    const Company before = in(b, 4), takes_over = in(b, 6), settled = in(b, 7);
    if (settled.has(before.primary())) continue;
    ++gone;
    EXPECT_EQ(takes_over[2], before.primary()) << b;
    EXPECT_EQ(settled.primary(), before[1]) << b;  // has the data
  }
  EXPECT_GT(gone, 0u);
}

TEST_F(Settling, is_over_when_the_newcomer_dies) {
  add({0, 1, 2, 3});
  add({0, 1, 2, 3}, 3, SettleStep::kTakenIn);
  add({0, 1, 2, 3}, 3, SettleStep::kTakesOver);
  add({0, 1, 2});
  for (std::uint64_t b = 0; b < kBlocks; ++b) {
    const Company before = in(b, 1), now = in(b, 5);
    ASSERT_EQ(now.size(), 2u) << b;
    EXPECT_TRUE(before.has(now[0]) && before.has(now[1])) << b;
  }
}

// One too many since a member that was about to leave stayed: it goes with the others; nothing is added beside it.
TEST_F(Settling, companies_never_have_two_too_many) {
  add({0, 1, 2, 3}, 0, SettleStep::kNone, NodeId{1});
  add({0, 1, 2, 3});
  add({0, 1, 2, 3}, 3, SettleStep::kTakenIn);
  for (std::uint64_t b = 0; b < kBlocks; ++b) EXPECT_LE(in(b, 4).size(), 3u) << b;
  add({0, 1, 2, 3}, 3, SettleStep::kTakesOver);
  add({0, 1, 2, 3}, 0, SettleStep::kSettled);
  for (std::uint64_t b = 0; b < kBlocks; ++b) EXPECT_EQ(in(b, 6).size(), 2u) << b;
}

// Who is about to leave does not count, and is not put out before it goes itself.
TEST_F(Settling, leaves_who_is_about_to_leave_where_it_is) {
  add({0, 1, 2, 3});
  add({0, 1, 2, 3}, 3, SettleStep::kTakenIn);
  add({0, 1, 2, 3}, 3, SettleStep::kNone, NodeId{1});
  add({0, 1, 2, 3}, 3, SettleStep::kTakesOver, NodeId{1});
  add({0, 1, 2, 3}, 0, SettleStep::kSettled, NodeId{1});
  for (std::uint64_t b = 0; b < kBlocks; ++b) {
    const Company before = in(b, 3), settled = in(b, 6);
    EXPECT_EQ(settled.size(), 2u + settled.has(NodeId{1})) << b;
    EXPECT_EQ(before.has(NodeId{1}), settled.has(NodeId{1})) << b;
  }
}

}  // namespace
}  // namespace gallocy::durable
