// Durable memory of real nodes that are killed under load: money is conserved and every acknowledged transfer is there;
// registers are linearizable.
#include "../sim/raft_linearizability.h"
#include "durable_fixture.h"

namespace gallocy::testing {
namespace {

using ::testing::HasSubstr;

class DurableCrash : public DurableFixture {
 protected:
  void expect_linearizable() {
    std::vector<sim::RegisterOperation> history;
    for (unsigned n = 0; n < nodes_; ++n) {
      for (const BoardThread& thread : board_->node[n].thread) {
        for (std::uint32_t i = 0; i < thread.operations; ++i) add(history, thread.operation[i]);
      }
    }
    EXPECT_GT(history.size(), 100u);
    const auto violation = sim::find_violation(history);
    EXPECT_FALSE(violation.has_value()) << *violation;
  }

 private:
  static void add(std::vector<sim::RegisterOperation>& history, const BoardOperation& o) {
    const auto kind = static_cast<sim::RegisterOperation::Kind>(o.kind);
    const bool returned = o.returned != sim::RegisterOperation::kNever;
    if (o.called == 0 || (returned && !o.success)) return;  // did not begin, or a conflict: did not happen
    if (!returned && kind == sim::RegisterOperation::Kind::kRead) return;
    // Of one that never returned it is not known whether it compared before its node died: it may as well be a write.
    history.push_back({.kind = returned ? kind : sim::RegisterOperation::Kind::kWrite,
                       .reg = o.reg,
                       .value = o.value,
                       .expected = o.expected,
                       .success = true,
                       .called = o.called,
                       .returned = o.returned});
  }
};

TEST_F(DurableCrash, nothing_dies_and_registers_are_linearizable) {
  start("registers", 3, 1);
  await_progress(300);
  finish();
  expect_linearizable();
}

// Each node is primary and backup of some blocks and coordinates; node 0 leads the log at first.
class DurableCrashOf : public DurableCrash, public ::testing::WithParamInterface<unsigned> {};

TEST_P(DurableCrashOf, one_of_three_keeps_all_that_was_acknowledged) {
  start("bank", 3, 1);
  kill_nodes({GetParam()});
  await_redundancy();
  finish();
}

TEST_P(DurableCrashOf, one_of_three_keeps_registers_linearizable) {
  start("registers", 3, 2);
  kill_nodes({GetParam()});
  await_redundancy();
  finish();
  expect_linearizable();
}

// By plain loads and stores: each transfer is a section, and some are cut off in the midst of it.
TEST_P(DurableCrashOf, one_of_three_keeps_all_sections_that_were_acknowledged) {
  start("section_bank", 3, 1);
  kill_nodes({GetParam()});
  await_redundancy();
  finish();
}

// It wakes up in the midst of its operations, with answers of before in its sockets.
TEST_P(DurableCrashOf, one_that_was_stopped_and_given_up_reads_nothing_old) {
  start("registers", 3, 1);
  kill_nodes({GetParam()}, SIGSTOP);
  await_redundancy();
  ::kill(pid_of(*launcher_, GetParam()), SIGCONT);
  await_progress(50);
  finish();
  expect_linearizable();
}

INSTANTIATE_TEST_SUITE_P(Node, DurableCrashOf, ::testing::Values(0u, 1u, 2u));

TEST_F(DurableCrash, two_of_five_at_once_lose_nothing_with_two_backups) {
  start("bank", 5, 2);
  kill_nodes({0, 3});
  await_redundancy();
  finish();
}

TEST_F(DurableCrash, two_of_five_at_once_lose_no_section_with_two_backups) {
  start("section_bank", 5, 2);
  kill_nodes({0, 3});
  await_redundancy();
  finish();
}

TEST_F(DurableCrash, of_a_node_that_dies_within_a_section_nothing_is_seen) {
  launcher_ = gallocy({"launch", "-n", "3", "--on-peer-lost", "continue", "--", DURABLE_NODE, "halfway"});
  ASSERT_TRUE(launcher_->await_output("node 1 is halfway\n", kBound)) << said();
  ASSERT_TRUE(launcher_->await_output("node 0 waits\n", kBound)) << said();
  ::kill(pid_of(*launcher_, 1), SIGKILL);
  ASSERT_TRUE(launcher_->await_output("node 0 saw nothing of it\n", kBound)) << said();
  EXPECT_EQ(launcher_->wait(kBound), 0) << said();
}

TEST_F(DurableCrash, a_load_outside_of_a_section_ends_the_node) {
  launcher_ = gallocy({"launch", "-n", "2", "--", DURABLE_NODE, "touch"});
  EXPECT_EQ(launcher_->wait(kBound), 64) << said();
  EXPECT_THAT(said(), HasSubstr("of region \"touched\" is durable memory: enter a gallocy::Section of its lock first"));
}

TEST_F(DurableCrash, two_of_five_at_once_keep_registers_linearizable) {
  start("registers", 5, 2);
  kill_nodes({1, 0});
  await_redundancy();
  finish();
  expect_linearizable();
}

TEST_F(DurableCrash, more_than_the_backups_die_one_after_the_other) {
  start("bank", 5, 1);
  // Of five that keep the log; a third death might come before the log does without the second.
  for (const unsigned victim : {0u, 1u}) {
    kill_nodes({victim});
    await_redundancy();
  }
  finish();
}

}  // namespace
}  // namespace gallocy::testing
