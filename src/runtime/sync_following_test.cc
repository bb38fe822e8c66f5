#include "runtime/sync_following.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gallocy::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr NodeId n0{0}, n1{1}, n2{2}, n3{3};

class SyncFollowing : public ::testing::Test {
 protected:
  SyncFollowing() {
    for (const NodeId node : {n0, n1, n2}) join(node);
  }
  void accept(NodeId proposer, const vmm::Entry& entry) {
    const auto done = machine_.apply(LogIndex{machine_.applied().value + 1}, proposer, entry);
    ASSERT_TRUE(done) << done.error().message;
  }
  void join(NodeId node) { accept(node, vmm::MemberJoined{node, "here"}); }
  void leaves(NodeId node) { accept(node, vmm::MemberLeaves{node}); }
  void stays(NodeId node) { accept(node, vmm::MemberStays{node}); }
  void left(NodeId node) { accept(node, vmm::MemberLeft{node, 1}); }
  void died(NodeId node, NodeId told_by) { accept(told_by, vmm::MemberDied{node, 1}); }
  sync::HomesMoved moved() const { return homes_moved(machine_); }

  vmm::Machine machine_;
};

TEST_F(SyncFollowing, homes_stay_where_the_lowest_member_is) {
  leaves(n1);
  left(n1);
  EXPECT_EQ(moved().moves, 0);
  died(n2, n0);
  join(n3);
  EXPECT_EQ(moved().moves, 0);
  EXPECT_FALSE(moved().a_home_died);
  EXPECT_THAT(gone_before(machine_), ElementsAre(n2));
}

TEST_F(SyncFollowing, homes_move_when_it_is_about_to_leave) {
  leaves(n0);
  EXPECT_EQ(moved().moves, 1);
  EXPECT_THAT(moved().passed_over, ElementsAre(n0));
  left(n0);
  EXPECT_EQ(moved().moves, 1);
  EXPECT_THAT(gone_before(machine_), IsEmpty());
  leaves(n1);
  EXPECT_EQ(moved().moves, 2);
  EXPECT_THAT(moved().passed_over, ElementsAre(n0, n1));
  EXPECT_FALSE(moved().a_home_died);
}

TEST_F(SyncFollowing, homes_move_back_when_it_stays) {
  leaves(n0);
  stays(n0);
  EXPECT_EQ(moved().moves, 2);
  EXPECT_THAT(moved().passed_over, IsEmpty());
}

// Somebody may have a link to it yet, and must not take it for the next home.
TEST_F(SyncFollowing, who_has_left_is_passed_over) {
  leaves(n1);
  left(n1);
  leaves(n0);
  EXPECT_THAT(moved().passed_over, ElementsAre(n0, n1));
}

TEST_F(SyncFollowing, the_death_of_the_home_is_remembered) {
  leaves(n0);
  died(n1, n0);
  EXPECT_TRUE(moved().a_home_died);
  EXPECT_EQ(moved().moves, 1);
}

// The last one left is about to leave, and is the home of all that it knows, though a newcomer is not.
TEST_F(SyncFollowing, a_newcomer_does_not_become_the_home_of_what_others_know) {
  leaves(n0);
  died(n1, n0);
  died(n2, n0);
  join(n3);
  EXPECT_EQ(moved().moves, 1);
  EXPECT_THAT(moved().passed_over, ElementsAre(n0, n3));
  stays(n0);
  EXPECT_THAT(moved().passed_over, ElementsAre(n3));
  leaves(n0);
  EXPECT_EQ(moved().moves, 3);
  EXPECT_THAT(moved().passed_over, ElementsAre(n0));
}

}  // namespace
}  // namespace gallocy::runtime
