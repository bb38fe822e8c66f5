// Histories of durable memory, message by message. Those that show what a rule is for end in a violation without it.
#include <gtest/gtest.h>

#include "durable_script.h"

namespace gallocy::sim {
namespace {

using durable::Await;
using durable::Lease;
using durable::Mutant;
using durable::Outcome;

TEST(DurableScenario, one_company_commits_in_three_messages) {
  DurableScript s(4, 1);
  const BlockId block = s.block_of({1, 2});
  s.commit(0, 1, {block}, 7);
  s.deliver(0, 1);
  s.deliver(1, 2);
  EXPECT_FALSE(s.outcome(1));
  s.deliver(2, 0);
  EXPECT_EQ(s.outcome(1), Outcome::kDone);
  EXPECT_EQ(s.value(1, block), 0u);
  s.deliver_all();
  EXPECT_EQ(s.value(1, block), 7u);
  EXPECT_EQ(s.value(2, block), 7u);
  EXPECT_EQ(s[1].records() + s[2].records(), 0u);
}

TEST(DurableScenario, a_comparison_that_fails_changes_nothing) {
  DurableScript s(5, 1);
  const BlockId a = s.block_of({1, 2}), b = s.block_of({2, 3});
  s.commit(0, 1, {a}, 7);
  s.deliver_all();
  s.commit(4, 2, {a, b}, 8, 0);
  s.deliver_all();
  EXPECT_EQ(s.outcome(2), Outcome::kConflict);
  EXPECT_EQ(s.value(1, a), 7u);
  EXPECT_EQ(s.value(2, b), 0u);
  EXPECT_EQ(s[2].records() + s[3].records(), 0u);
}

TEST(DurableScenario, a_read_waits_for_the_decision) {
  DurableScript s(5, 1);
  const BlockId a = s.block_of({1, 2}), b = s.block_of({3, 4});
  s.commit(0, 1, {a, b}, 7);
  s.deliver(0, 1);
  s.read(4, 2, a);
  s.deliver(4, 1);
  s.deliver(1, 4);
  EXPECT_FALSE(s.read_value(2));
  s.deliver_all();
  EXPECT_EQ(s.read_value(2), 7u);
}

TEST(DurableScenario, of_two_that_meet_one_is_told_so) {
  DurableScript s(4, 1);
  const BlockId block = s.block_of({2, 3});
  s.commit(0, 1, {block}, 7, 0);
  s.commit(1, 2, {block}, 8, 0);
  s.deliver_all();
  EXPECT_EQ(s.outcome(1), Outcome::kDone);
  EXPECT_EQ(s.outcome(2), Outcome::kConflict);
  EXPECT_EQ(s.value(2, block), 7u);
}

// The caller was told; then coordinator and primary die before anybody hears of the decision.
TEST(DurableScenario, what_was_acknowledged_survives_coordinator_and_primary) {
  DurableScript s(5, 2);
  const BlockId block = s.block_of({1, 2, 3});
  s.commit(0, 1, {block}, 7);
  s.deliver(0, 1);
  s.deliver(1, 2);
  s.deliver(1, 3);
  s.deliver(2, 0);
  s.deliver(3, 0);
  EXPECT_EQ(s.outcome(1), Outcome::kDone);
  s.crash(0);
  s.crash(1);
  s.epoch();
  s.deliver_all();
  EXPECT_EQ(s[2].company(block).primary(), NodeId{2});
  for (const unsigned node : {2, 3, 4}) EXPECT_EQ(s.value(node, block), 7u) << node;
  EXPECT_EQ(s[2].unrestored(), 0u);
  EXPECT_EQ(s[2].records() + s[3].records() + s[4].records(), 0u);
}

// One of two companies never heard of it.
TEST(DurableScenario, a_dead_coordinators_half_prepared_transaction_did_not_happen) {
  DurableScript s(6, 1);
  const BlockId a = s.block_of({1, 2}), b = s.block_of({3, 4});
  s.commit(0, 1, {a, b}, 7);
  s.deliver(0, 1);
  s.deliver(1, 2);
  s.crash(0);
  s.epoch();
  s.deliver_all();
  EXPECT_EQ(s.value(1, a), 0u);
  EXPECT_EQ(s.value(3, b), 0u);
  s.commit(5, 2, {a, b}, 8, 0);
  s.deliver_all();
  EXPECT_EQ(s.outcome(2), Outcome::kDone);
}

// A node that was told that its transaction did not happen may tell others. So a new primary must not say so while one
// of its company may go on with it.
void refused_while_a_backup_has_it(Mutant mutant, bool& told, std::uint64_t& value) {
  DurableScript s(7, 2, mutant);
  const BlockId block = s.block_of({1, 2, 3});
  s.commit(0, 1, {block}, 7, 0);
  s.deliver(0, 1);
  s.deliver(1, 3);  // and not to 2, which is primary next
  s.crash(1);
  s.epoch();
  s.commit(4, 2, {block}, 8, 0);
  s.deliver(4, 2);  // in the way of the first
  s.deliver(0, 2);
  s.deliver(2, 0);
  told = s.outcome(1) == Outcome::kConflict;
  s.crash(0);
  s.crash(2);
  s.epoch();
  s.deliver_all();
  value = s.value(3, block);
}

TEST(DurableScenario, nobody_is_refused_before_the_company_is_settled) {
  bool told = false;
  std::uint64_t value = 0;
  refused_while_a_backup_has_it(Mutant::kNone, told, value);
  EXPECT_FALSE(told && value == 7);
  refused_while_a_backup_has_it(Mutant::kNotSettled, told, value);
  EXPECT_TRUE(told && value == 7) << told << " " << value;
}

// A primary that knows that a dead coordinator's transaction happened, while its backup does not: the other companies
// must not forget it, because that backup may have to ask them.
std::pair<std::uint64_t, std::uint64_t> forgotten_before_the_backup_knew(Mutant mutant) {
  DurableScript s(6, 1, mutant);
  const BlockId a = s.block_of({1, 2}), b = s.block_of({3, 4});
  s.commit(0, 1, {a, b}, 7);
  for (const auto& [primary, backup] : {std::pair(1u, 2u), std::pair(3u, 4u)}) {
    s.deliver(0, primary);
    s.deliver(primary, backup);
  }
  s.crash(0);
  s.epoch();
  for (const auto& [primary, backup] : {std::pair(1u, 2u), std::pair(3u, 4u)}) {
    s.deliver(primary, backup);
    s.deliver(backup, primary);
  }
  s.deliver(1, 3);
  s.deliver(3, 1);
  for (int i = 0; i < 3; ++i) {
    s.deliver(1, 2);
    s.deliver(2, 1);
  }
  s.crash(3);
  s.epoch();
  s.deliver_all();
  return {s.value(1, a), s.value(4, b)};
}

TEST(DurableScenario, nobody_forgets_while_a_backup_may_have_to_ask) {
  EXPECT_EQ(forgotten_before_the_backup_knew(Mutant::kNone), std::pair(std::uint64_t{7}, std::uint64_t{7}));
  EXPECT_EQ(forgotten_before_the_backup_knew(Mutant::kForgetWhenCommitted),
            std::pair(std::uint64_t{7}, std::uint64_t{0}));
}

// A new member heard from one primary that a transaction happened, and gets its image from the next, which has not
// heard that yet.
std::uint64_t restored_by_another_primary(Mutant mutant) {
  DurableScript s(6, 2, mutant);
  const BlockId block = s.block_of({1, 2, 3});
  s.commit(5, 1, {block}, 6);
  s.deliver_all();
  s.commit(0, 2, {block}, 7);
  s.deliver(0, 1);
  for (const unsigned backup : {2, 3}) s.deliver(1, backup), s.deliver(backup, 0);
  EXPECT_EQ(s.outcome(2), Outcome::kDone);
  s.deliver(0, 1);
  s.crash(3);
  s.epoch();
  const unsigned added = s[0].company(block)[2].value;
  s.deliver(1, added);
  s.crash(1);
  s.epoch();
  s.deliver(2, added);
  s.deliver(added, 2);
  s.deliver(2, added);  // the pages
  s.deliver_all();
  return s.value(added, block);
}

TEST(DurableScenario, what_was_applied_before_the_pages_came_is_applied_again) {
  EXPECT_EQ(restored_by_another_primary(Mutant::kNone), 7u);
  EXPECT_EQ(restored_by_another_primary(Mutant::kKeepApplied), 6u);
}

// The primary gave one transaction up for another that conflicts with it; one backup heard of it and one did not, which
// is primary next and tells the first that it has the old one.
TEST(DurableScenario, a_backup_never_has_two_that_conflict) {
  DurableScript s(7, 2);
  const BlockId a = s.block_of({1, 2, 3}), b = s.block_of({4, 5, 6});
  s.commit(5, 1, {b}, 6);
  s.deliver_all();
  s.commit(0, 2, {a, b}, 7, 0);  // conflicts in b
  s.deliver(0, 1);
  for (const unsigned backup : {2, 3}) s.deliver(1, backup);
  s.deliver(0, 4);
  s.deliver(4, 0);
  EXPECT_EQ(s.outcome(2), Outcome::kConflict);
  s.deliver(0, 1);
  s.commit(4, 3, {a}, 8, 0);
  s.deliver(4, 1);
  s.deliver(1, 3);
  s.crash(1);
  s.epoch();
  s.deliver(2, 3, 1);
  s.crash(2);
  s.epoch();
  s.deliver_all();
  EXPECT_EQ(s.outcome(3), Outcome::kDone);
  EXPECT_EQ(s.value(3, a), 8u);
}

// What a member said in the epoch before counts for the place that another has now. Whether the caller was told, and
// what a reader sees then.
std::pair<bool, std::uint64_t> votes_of_an_epoch_before(Mutant mutant) {
  DurableScript s(6, 2, mutant);
  const BlockId block = s.block_of({1, 2, 3});
  s.commit(0, 1, {block}, 7);
  s.deliver(0, 1);
  s.deliver(1, 2);  // and not to 3
  s.deliver(2, 0);
  s.crash(1);
  s.epoch();
  const unsigned added = s[0].company(block)[2].value;
  s.deliver(2, added);
  s.deliver(added, 0);
  s.crash(2);
  s.epoch();
  const unsigned reader = added == 4 ? 5 : 4;
  s.read(reader, 2, block);
  s.deliver(reader, 3);
  s.deliver(3, reader);
  return {s.outcome(1) == Outcome::kDone, s.read_value(2).value_or(7)};
}

TEST(DurableScenario, only_votes_of_this_epoch_count) {
  const auto [told, value] = votes_of_an_epoch_before(Mutant::kNone);
  EXPECT_TRUE(!told || value == 7);
  const auto [told_then, value_then] = votes_of_an_epoch_before(Mutant::kKeepVotes);
  EXPECT_TRUE(told_then && value_then == 0) << told_then << value_then;
}

TEST(DurableScenario, messages_of_an_epoch_before_are_void) {
  DurableScript s(4, 1);
  const BlockId block = s.block_of({1, 2});
  s.commit(0, 1, {block}, 7);
  s.deliver(0, 1);
  s.deliver(1, 2);
  s.crash(1);
  s.hear(0, Epoch{2});
  s.deliver(2, 0);  // has the record, but in epoch 1
  EXPECT_FALSE(s.outcome(1));
  s.hear(2, Epoch{2});
  s.hear(3, Epoch{2});
  s.deliver_all();
  EXPECT_EQ(s.outcome(1), Outcome::kDone);
}

TEST(DurableScenario, what_comes_from_a_later_epoch_waits) {
  DurableScript s(4, 1);
  const BlockId block = s.block_of({1, 2});
  s.crash(3);
  s.hear(0, Epoch{2});
  s.commit(0, 1, {block}, 7);
  s.deliver(0, 1);
  s.deliver(1, 2);
  EXPECT_EQ(s[1].records(), 0u);
  s.hear(1, Epoch{2});
  s.hear(2, Epoch{2});
  s.deliver_all();
  EXPECT_EQ(s.outcome(1), Outcome::kDone);
}

// One whose caller was told that it happened, of a coordinator that lives: its primary has applied it and dies before
// its backup has. Who comes next has read what it wrote, from the dead primary. Node 0 hears of the death last.
void commit_that_only_the_dead_primary_has_applied(DurableScript& s, BlockId block) {
  s.commit(0, 1, {block}, 7);
  s.deliver(0, 1);
  s.deliver(1, 2);
  s.deliver(2, 0);
  EXPECT_EQ(s.outcome(1), Outcome::kDone);
  s.deliver(0, 1);
  s.read(3, 2, block, Await::kAll);
  s.deliver(3, 1);
  s.deliver(1, 3);
  EXPECT_EQ(s.read_value(2), 7u);
  s.crash(1);
  for (const unsigned node : {2, 3, 4, 5, 6}) s.hear(node, Epoch{2});
  const unsigned added = s[2].company(block)[1].value;
  ASSERT_GT(added, 3u);
  s.deliver(2, added);
  s.deliver(added, 2);
  EXPECT_EQ(s.value(2, block), 0u);
}

// What the next one is told, before and after the coordinator of the first has heard of the death, or has died too.
std::pair<std::optional<Outcome>, std::optional<Outcome>> next_after_a_death(Mutant mutant, bool coordinator_dies) {
  DurableScript s(7, 1, mutant);
  const BlockId block = s.block_of({1, 2});
  commit_that_only_the_dead_primary_has_applied(s, block);
  s.commit(3, 3, {block}, 8, 7);
  s.deliver(3, 2);
  s.deliver(2, 3);
  const auto before = s.outcome(3);
  if (coordinator_dies) {
    s.crash(0);
    s.epoch();
  }
  s.epoch();
  s.deliver_all();
  EXPECT_EQ(s.value(2, block), before ? 7u : 8u);
  EXPECT_EQ(s[2].records() + s[3].open(), 0u);
  return {before, s.outcome(3)};
}

TEST(DurableScenario, who_comes_next_waits_for_news_of_one_before_the_death) {
  for (const bool coordinator_dies : {false, true}) {
    const auto [before, after] = next_after_a_death(Mutant::kNone, coordinator_dies);
    EXPECT_FALSE(before);
    EXPECT_EQ(after, Outcome::kDone) << coordinator_dies;
  }
  EXPECT_EQ(next_after_a_death(Mutant::kRefuseUnheard, false).first, Outcome::kConflict);
}

// It is refused elsewhere while it waits for the news, and its caller is told so: it must not be prepared afterwards.
TEST(DurableScenario, who_waits_for_news_can_be_aborted) {
  DurableScript s(7, 1);
  const BlockId a = s.block_of({1, 2}), b = s.block_of({4, 5});
  commit_that_only_the_dead_primary_has_applied(s, a);
  s.commit(3, 3, {a, b}, 8, 7);
  s.deliver(3, 2);
  s.deliver(3, 4);
  s.deliver(4, 3);
  EXPECT_EQ(s.outcome(3), Outcome::kConflict);
  s.deliver(3, 2);  // the decision
  s.deliver(2, 3);
  EXPECT_EQ(s[3].open(), 0u);
  s.hear(0, Epoch{2});
  s.deliver_all();
  EXPECT_EQ(s.value(2, a), 7u);
  EXPECT_EQ(s[2].records(), 0u);
}

// Each has a record of the epoch before where the other one has none. If they waited for each other's decision they
// would wait for ever.
TEST(DurableScenario, two_that_are_not_decided_do_not_wait_for_each_other) {
  DurableScript s(7, 1);
  const BlockId a = s.block_of({1, 2}), b = s.block_of({3, 4});
  s.commit(0, 1, {a, b}, 7, 0);
  s.commit(5, 2, {a, b}, 8, 0);
  s.deliver(0, 1);
  s.deliver(1, 2);
  s.deliver(5, 3);
  s.deliver(3, 4);
  s.crash(6);
  s.epoch();
  s.deliver_all();
  ASSERT_TRUE(s.outcome(1) && s.outcome(2));
  EXPECT_FALSE(s.outcome(1) == Outcome::kDone && s.outcome(2) == Outcome::kDone);
  EXPECT_EQ(s[1].records() + s[2].records() + s[3].records() + s[4].records(), 0u);
  s.commit(0, 3, {a, b}, 9);
  s.deliver_all();
  EXPECT_EQ(s.outcome(3), Outcome::kDone);
}

// A section's coordinator and primary are one node. It dies when one of two backups has the record, and the one that
// has it not is primary next. Whoever has the lock then reads there, and commits when that one has died, too. What it
// read, and what it was told.
std::pair<std::uint64_t, std::optional<Outcome>> read_between_two_deaths(Mutant mutant) {
  DurableScript s(7, 2, mutant);
  const BlockId block = s.block_of({1, 2, 3});
  s.commit(1, 1, {block}, 7);
  s.deliver(1, 3);  // and not to 2
  s.crash(1);
  s.epoch();
  s.read(0, 2, block, Await::kAll);
  s.deliver(0, 2);
  s.deliver(2, 0);
  s.crash(2);
  s.epoch();
  s.deliver_all();
  const std::uint64_t value = s.read_value(2).value();
  s.commit(0, 3, {block}, 8, value);
  s.deliver_all();
  return {value, s.outcome(3)};
}

TEST(DurableScenario, a_section_reads_what_no_death_changes) {
  EXPECT_EQ(read_between_two_deaths(Mutant::kNone), std::pair(std::uint64_t{7}, std::optional(Outcome::kDone)));
  EXPECT_EQ(read_between_two_deaths(Mutant::kReadUnsettled),
            std::pair(std::uint64_t{0}, std::optional(Outcome::kConflict)));
}

TEST(DurableScenario, without_a_lease_nobody_is_told_anything) {
  DurableScript s(4, 1);
  const BlockId block = s.block_of({1, 2});
  s[0].set_lease(Lease::kLapsed);
  s.commit(0, 1, {block}, 7);
  s.deliver_all();
  EXPECT_FALSE(s.outcome(1));
  s[0].set_lease(Lease::kHeld);
  s.carry_out(0);
  s.deliver_all();
  EXPECT_EQ(s.outcome(1), Outcome::kDone);
}

TEST(DurableScenario, more_deaths_than_backups_lose_the_block_and_say_so) {
  DurableScript s(5, 1);
  const BlockId block = s.block_of({1, 2});
  s.commit(0, 1, {block}, 7);
  s.deliver_all();
  s.crash(1);
  s.crash(2);
  s.epoch();
  s.deliver_all();
  s.read(0, 2, block);
  s.commit(0, 3, {block}, 8);
  s.deliver_all();
  EXPECT_EQ(s.reads.at(2).outcome, Outcome::kLost);
  EXPECT_EQ(s.reads.at(2).block, block);
  EXPECT_EQ(s.outcome(3), Outcome::kLost);
  EXPECT_EQ(s.commits.at(3).block, block);
}

TEST(DurableScenario, one_death_after_the_other_loses_nothing) {
  DurableScript s(6, 1);
  const BlockId block = s.block_of({1, 2});
  s.commit(5, 1, {block}, 7);
  s.deliver_all();
  for (int deaths = 0; deaths < 4; ++deaths) {
    const NodeId primary = s[5].company(block).primary();
    if (primary == NodeId{5}) break;
    s.crash(primary.value);
    s.epoch();
    s.deliver_all();
    EXPECT_EQ(s.value(s[5].company(block).primary().value, block), 7u);
  }
}

TEST(DurableScenario, bytes_outside_of_durable_regions_are_refused) {
  DurableScript s(3, 1);
  const BlockId outside{DurableScript::kFirst.value - 1};
  s.read(0, 1, outside);
  EXPECT_EQ(s.reads.at(1).outcome, Outcome::kNotDurable);
  s.commit(0, 2, {outside}, 7);
  EXPECT_EQ(s.outcome(2), Outcome::kNotDurable);
}

}  // namespace
}  // namespace gallocy::sim
