#include "supervisor.h"

#include <gmock/gmock.h>
#include <signal.h>

namespace gallocy::command {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int exit_of(int status) { return status << 8; }

class SupervisorTest : public testing::Test {
 protected:
  static NodeId id(unsigned node) { return NodeId{static_cast<std::uint16_t>(node)}; }
  Supervisor make(OnPeerLost policy = OnPeerLost::kEnd) {
    Supervisor supervisor(3, policy);
    for (unsigned node = 0; node < 3; ++node) supervisor.started(id(node), "here", 100 + node);
    return supervisor;
  }
  Supervisor formed(OnPeerLost policy = OnPeerLost::kEnd) {
    auto supervisor = make(policy);
    for (unsigned node = 0; node < 3; ++node) EXPECT_FALSE(supervisor.joined(id(node)).end_all);
    supervisor.all_joined();
    return supervisor;
  }
};

TEST_F(SupervisorTest, all_well_is_silent) {
  auto supervisor = formed();
  for (unsigned node = 0; node < 3; ++node) {
    supervisor.finished(id(node));
    const auto verdict = supervisor.exited(id(node), 0);
    EXPECT_THAT(verdict.message, IsEmpty());
    EXPECT_FALSE(verdict.end_all);
  }
  EXPECT_EQ(supervisor.running_count(), 0u);
  EXPECT_EQ(supervisor.exit_status(), 0);
}

TEST_F(SupervisorTest, only_the_first_failure_speaks_and_counts) {
  auto supervisor = formed();
  const auto first = supervisor.exited(id(2), SIGSEGV);
  EXPECT_EQ(first.message, "node 2 (here, pid 102) was killed by signal 11 (SIGSEGV); ended the other 2");
  EXPECT_TRUE(first.end_all);
  for (unsigned node = 0; node < 2; ++node) {
    const auto later = supervisor.exited(id(node), SIGTERM);
    EXPECT_THAT(later.message, IsEmpty());
    EXPECT_FALSE(later.end_all);
  }
  EXPECT_EQ(supervisor.exit_status(), 139);
}

TEST_F(SupervisorTest, a_failing_status_after_leaving_ends_nobody) {
  auto supervisor = formed();
  supervisor.finished(id(1));
  EXPECT_FALSE(supervisor.exited(id(1), exit_of(4)).end_all);
  EXPECT_EQ(supervisor.exit_status(), 4);
}

TEST_F(SupervisorTest, leaving_is_asked_only_of_those_that_joined) {
  auto supervisor = make();
  EXPECT_FALSE(supervisor.exited(id(0), 0).end_all);
  const auto verdict = supervisor.joined(id(1));
  EXPECT_TRUE(verdict.end_all) << "node 1 would wait for node 0";
  EXPECT_THAT(verdict.message, HasSubstr("node 0"));
  EXPECT_EQ(supervisor.exit_status(), 70);
}

TEST_F(SupervisorTest, survivors_go_on_only_when_the_cluster_was_formed) {
  auto early = make(OnPeerLost::kContinue);
  EXPECT_TRUE(early.exited(id(0), SIGKILL).end_all);

  auto supervisor = formed(OnPeerLost::kContinue);
  const auto verdict = supervisor.exited(id(0), SIGKILL);
  EXPECT_FALSE(verdict.end_all);
  EXPECT_THAT(verdict.message, HasSubstr("the other 2 go on"));
  supervisor.finished(id(1));
  supervisor.finished(id(2));
  supervisor.exited(id(1), 0);
  supervisor.exited(id(2), exit_of(3));
  EXPECT_EQ(supervisor.exit_status(), 3) << "that of the survivors";
}

// A killed process closes its connections before its end can be waited for.
TEST_F(SupervisorTest, survivors_may_end_before_a_death_is_noticed) {
  auto supervisor = formed(OnPeerLost::kContinue);
  for (const unsigned survivor : {0u, 2u}) {
    supervisor.finished(id(survivor));
    supervisor.exited(id(survivor), 0);
  }
  EXPECT_THAT(supervisor.exited(id(1), SIGKILL).message, HasSubstr("the others have ended"));
  EXPECT_EQ(supervisor.exit_status(), 0);
}

TEST_F(SupervisorTest, the_last_one_that_is_lost_ends_the_launch) {
  auto supervisor = formed(OnPeerLost::kContinue);
  supervisor.exited(id(0), SIGKILL);
  EXPECT_FALSE(supervisor.lost(id(1), "silent").end_all);
  EXPECT_TRUE(supervisor.lost(id(2), "silent").end_all);
  EXPECT_EQ(supervisor.exit_status(), 70);
}

TEST_F(SupervisorTest, a_lost_node_is_ended_so_that_it_cannot_come_back) {
  auto supervisor = formed(OnPeerLost::kContinue);
  const auto verdict = supervisor.lost(id(1), "silent");
  EXPECT_THAT(verdict.kill, ElementsAre(id(1)));
  EXPECT_EQ(supervisor.running_count(), 2u);
  EXPECT_THAT(supervisor.exited(id(1), SIGKILL).message, IsEmpty());
  EXPECT_EQ(supervisor.running_count(), 2u);
}

TEST_F(SupervisorTest, one_that_left_cannot_be_lost) {
  auto supervisor = formed();
  supervisor.finished(id(1));
  EXPECT_FALSE(supervisor.lost(id(1), "silent").end_all);
}

TEST_F(SupervisorTest, the_users_signal_is_no_failure_to_report) {
  auto supervisor = formed();
  supervisor.interrupted(SIGINT);
  const auto first = supervisor.exited(id(0), SIGINT);
  EXPECT_THAT(first.message, IsEmpty());
  EXPECT_TRUE(first.end_all) << "those that ignore it would wait for node 0";
  EXPECT_EQ(supervisor.exit_status(), 130);

  auto crashed = formed();
  crashed.interrupted(SIGINT);
  EXPECT_THAT(crashed.exited(id(0), SIGSEGV).message, HasSubstr("SIGSEGV"));
}

TEST_F(SupervisorTest, a_lost_host_takes_its_nodes) {
  auto supervisor = formed();
  const auto verdict = supervisor.host_lost({id(1), id(2)}, "the connection ended");
  EXPECT_TRUE(verdict.end_all);
  EXPECT_EQ(verdict.message, "lost nodes 1 and 2 on here: the connection ended; ended the other 1");
  EXPECT_EQ(supervisor.running_count(), 1u);
  EXPECT_EQ(supervisor.exit_status(), 70);
}

TEST_F(SupervisorTest, an_unreachable_host_gives_its_own_status) {
  auto supervisor = make();
  const auto verdict = supervisor.host_failed({id(1)}, 68, "cannot reach host b");
  EXPECT_EQ(verdict.message, "cannot reach host b");
  EXPECT_TRUE(verdict.end_all);
  EXPECT_THAT(supervisor.host_failed({id(2)}, 68, "cannot reach host c").message, IsEmpty());
  EXPECT_EQ(supervisor.exit_status(), 68);
}

TEST_F(SupervisorTest, the_end_of_the_program_is_the_end_of_all) {
  for (const bool in_order : {true, false}) {
    Supervisor supervisor(3, OnPeerLost::kEnd, Supervisor::Kind::kOneProcess);
    for (unsigned node = 0; node < 3; ++node) {
      supervisor.started(id(node), "here", 100 + node);
      (void)supervisor.joined(id(node));
    }
    supervisor.all_joined();
    if (in_order) supervisor.finished(id(0));
    const Verdict verdict = supervisor.exited(id(0), exit_of(3));
    EXPECT_TRUE(verdict.end_all);
    EXPECT_EQ(verdict.told, in_order) << "the others know, and have something to say yet";
    EXPECT_EQ(supervisor.exit_status(), 3);
  }
}

}  // namespace
}  // namespace gallocy::command
