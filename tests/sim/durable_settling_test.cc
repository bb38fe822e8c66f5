// A node takes over its share of the blocks that there are (durable/companies.h), message by message.
#include <gtest/gtest.h>

#include "durable_script.h"

namespace gallocy::sim {
namespace {

using durable::Outcome;
using durable::SettleStep;

void settle(DurableScript& s, unsigned node) {
  for (const SettleStep step : {SettleStep::kTakenIn, SettleStep::kTakesOver, SettleStep::kSettled}) {
    s.settles(node, step);
    s.epoch();
    s.deliver_all();
  }
}

TEST(DurableSettling, the_newcomer_gets_what_another_lets_go_of) {
  DurableScript s(3, 1);
  s.joins();
  s.settles(3, SettleStep::kTakenIn);
  s.epoch();
  const BlockId block = s.block_of({1, 2, 3});
  s.commit(0, 1, {block}, 7);
  s.deliver_all();
  EXPECT_EQ(s.outcome(1), Outcome::kDone);
  EXPECT_TRUE(s[3].may_go_on_settling());
  s.settles(3, SettleStep::kTakesOver);
  s.epoch();
  EXPECT_FALSE(s[3].may_go_on_settling());
  s.deliver_all();
  EXPECT_TRUE(s[3].may_go_on_settling());
  s.settles(3, SettleStep::kSettled);
  s.epoch();
  s.deliver_all();
  EXPECT_EQ(s.value(1, block), 7u);
  EXPECT_EQ(s.value(3, block), 7u);
  EXPECT_EQ(s[2].block(block), nullptr);
  s.commit(2, 2, {block}, 8, 7);
  s.deliver_all();
  EXPECT_EQ(s.outcome(2), Outcome::kDone);
  EXPECT_EQ(s.value(3, block), 8u);
}

// A block that node 1 leads, which has the lowest score of all that have it when node 4 settles. Node 1 is the last to
// hear that it is not the primary any more, and what it says there must be true: it reads what it has itself.
// `unheard`: the last step is taken although it has not heard of the one before.
std::pair<std::optional<Outcome>, std::uint64_t> read_of_a_primary_that_is_put_out(DurableScript& s, bool unheard) {
  s.joins();
  settle(s, 3);
  s.joins();
  s.settles(4, SettleStep::kTakenIn);
  s.epoch();
  s.deliver_all();
  s.settles(4, SettleStep::kTakesOver);
  const Epoch takes_over{s[0].epoch().value + 1};
  for (const unsigned node : {0, 2, 3, 4}) s.hear(node, takes_over);
  const BlockId block = s.block_of({3, 4, 1});
  EXPECT_EQ(s[1].company(block).primary(), NodeId{1});
  s.deliver_all(1);
  EXPECT_FALSE(s[4].may_go_on_settling());
  if (unheard) {
    s.settles(4, SettleStep::kSettled);
    for (const unsigned node : {0, 2, 3, 4}) s.hear(node, Epoch{takes_over.value + 1});
  }
  s.commit(0, 1, {block}, 7);
  s.deliver_all(1);
  const auto told = s.outcome(1);
  s.read(1, 2, block);
  return {told, s.read_value(2).value_or(~std::uint64_t{0})};
}

TEST(DurableSettling, nothing_is_committed_without_a_primary_that_is_put_out) {
  DurableScript s(3, 1);
  EXPECT_EQ(read_of_a_primary_that_is_put_out(s, false), std::pair(std::optional<Outcome>(), std::uint64_t{0}));
  s.epoch();
  s.deliver_all();
  EXPECT_EQ(s.outcome(1), Outcome::kDone);
  EXPECT_TRUE(s[4].may_go_on_settling());

  DurableScript wrong(3, 1);
  EXPECT_EQ(read_of_a_primary_that_is_put_out(wrong, true), std::pair(std::optional(Outcome::kDone), std::uint64_t{0}));
}

// It has prepared a transaction when it hears that another is the primary, and answers for it.
TEST(DurableSettling, what_the_primary_that_is_put_out_prepared_goes_on) {
  DurableScript s(3, 1);
  s.joins();
  settle(s, 3);
  s.joins();
  s.settles(4, SettleStep::kTakenIn);
  s.epoch();
  s.deliver_all();
  s.settles(4, SettleStep::kTakesOver);
  s.hear(2, Epoch{s[2].epoch().value + 1});
  BlockId block{};
  for (BlockId b = DurableScript::kFirst; block == BlockId{}; ++b.value) {
    if (s[2].company(b).primary() == NodeId{3} && s[0].company(b).primary() == NodeId{1}) block = b;
  }
  s.commit(0, 1, {block}, 7, 0);
  s.deliver(0, 1);
  s.deliver(1, 3);
  s.epoch();
  s.commit(2, 2, {block}, 8, 0);
  s.deliver_all();
  EXPECT_EQ(s.outcome(1), Outcome::kDone);
  EXPECT_EQ(s.outcome(2), Outcome::kConflict);
  for (const unsigned node : {1, 3, 4}) EXPECT_EQ(s.value(node, block), 7u) << node;
  s.settles(4, SettleStep::kSettled);
  s.epoch();
  s.deliver_all();
  EXPECT_EQ(s[1].block(block), nullptr);
  for (unsigned node = 0; node < 5; ++node) EXPECT_EQ(s[node].records() + s[node].open(), 0u) << node;
}

// The newcomer dies in the middle: who has kept a block all along still does.
TEST(DurableSettling, is_void_when_the_newcomer_dies) {
  DurableScript s(3, 1);
  s.joins();
  s.settles(3, SettleStep::kTakenIn);
  s.epoch();
  const BlockId block = s.block_of({1, 2, 3});
  s.commit(0, 1, {block}, 7);
  s.deliver_all();
  s.settles(3, SettleStep::kTakesOver);
  s.epoch();
  s.crash(3);
  s.epoch();
  s.deliver_all();
  EXPECT_EQ(s[0].company(block).size(), 2u);
  EXPECT_EQ(s.value(1, block), 7u);
  EXPECT_EQ(s.value(2, block), 7u);
}

}  // namespace
}  // namespace gallocy::sim
