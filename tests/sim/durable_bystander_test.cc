// Members that keep no blocks, message by message.
#include <gtest/gtest.h>

#include "durable_script.h"

namespace gallocy::sim {
namespace {

using durable::Mutant;
using durable::Outcome;

DurableScript script(std::uint16_t nodes, std::vector<NodeId> bystanders) {
  return {nodes, 1, Mutant::kNone, std::move(bystanders)};
}

TEST(DurableBystander, commits_and_reads_and_is_not_taken_in_after_a_death) {
  DurableScript s = script(3, {NodeId{0}});
  const BlockId block = s.block_of({1, 2});
  s.commit(0, 1, {block}, 7);
  s.deliver_all();
  s.crash(1);
  s.epoch();
  s.commit(0, 2, {block}, 8, 7);
  s.read(0, 3, block);
  s.deliver_all();
  EXPECT_EQ(s.outcome(1), Outcome::kDone);
  EXPECT_EQ(s.outcome(2), Outcome::kDone);
  EXPECT_TRUE(s.read_value(3) == 7 || s.read_value(3) == 8);
  EXPECT_EQ(s[0].company(block).size(), 1u);
  EXPECT_EQ(s[0].block(block), nullptr);
  EXPECT_EQ(s[2].records(), 0u);
}

// Among what is under way is a transaction of which the caller was told already.
TEST(DurableBystander, alone_is_told_that_the_blocks_are_lost) {
  DurableScript s = script(4, {NodeId{0}, NodeId{3}});
  const BlockId block = s.block_of({1, 2});
  s.commit(0, 1, {block}, 7);
  s.deliver(0, 1);
  s.deliver(1, 2);
  s.deliver(2, 0);
  ASSERT_EQ(s.outcome(1), Outcome::kDone);
  s.commit(0, 2, {block}, 8);
  s.read(0, 3, block);
  s.crash(1);
  s.crash(2);
  s.epoch();
  EXPECT_EQ(s.outcome(1), Outcome::kDone);
  EXPECT_EQ(s.outcome(2), Outcome::kLost);
  EXPECT_EQ(s.commits.at(2).block, block);
  EXPECT_EQ(s.reads.at(3).outcome, Outcome::kLost);
  s.commit(0, 4, {block}, 9);
  s.read(0, 5, block);
  EXPECT_EQ(s.outcome(4), Outcome::kLost);
  EXPECT_EQ(s.reads.at(5).outcome, Outcome::kLost);
  EXPECT_EQ(s[0].open(), 0u);
  EXPECT_EQ(s[0].unforgotten(), 0u);
}

// Who is left alone settles its blocks one after the other, and must ask of each of them the company of now.
TEST(DurableBystander, of_two_that_keep_blocks_the_last_ends_the_transactions_of_the_other) {
  DurableScript s = script(3, {NodeId{0}});
  const BlockId led_here = s.block_of({2, 1});
  BlockId led_there{led_here.value + 1};
  while (s[0].company(led_there).primary() != NodeId{1}) ++led_there.value;
  s.commit(1, 1, {led_here, led_there}, 7);
  s.deliver(1, 2);
  s.deliver(2, 1);
  s.deliver(1, 2);
  ASSERT_EQ(s.outcome(1), Outcome::kDone);
  s.crash(1);
  s.epoch();
  s.deliver_all();
  EXPECT_EQ(s[2].records(), 0u);
  EXPECT_EQ(s.value(2, led_here), 7u);
  EXPECT_EQ(s.value(2, led_there), 7u);
  s.commit(0, 2, {led_there}, 8, 7);
  s.deliver_all();
  EXPECT_EQ(s.outcome(2), Outcome::kDone);
}

TEST(DurableBystander, may_leave_at_once) {
  DurableScript s = script(4, {NodeId{0}});
  s.leaves(1);
  EXPECT_FALSE(s[1].may_leave());
  s.deliver_all();
  EXPECT_TRUE(s[1].may_leave());
  s.leaves(0);
  EXPECT_TRUE(s[0].may_leave());
  EXPECT_FALSE(s[1].may_leave());
}

TEST(DurableBystander, is_not_left_without_the_last_who_keeps_blocks) {
  DurableScript s = script(2, {NodeId{0}});
  s.leaves(1);
  s.deliver_all();
  EXPECT_FALSE(s[1].may_leave());
  s.crash(0);
  s.epoch();
  s.deliver_all();
  EXPECT_TRUE(s[1].may_leave());
}

}  // namespace
}  // namespace gallocy::sim
