// Histories of the coherence core, message by message: what simulations found, each as small as it can be.
#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "coherence_cluster.h"
#include "coherence_inspector.h"

namespace gallocy::sim {
namespace {

using coherence::CoreInspector;
using coherence::FaultOutcome;

constexpr NodeId kFirst{0}, kSecond{1}, kThird{2}, kFourth{3};
constexpr std::uint16_t kNodes = 4;
constexpr BlockId kBlock{0};
constexpr PageId kPage{0}, kOtherPage{1};
constexpr std::uint64_t kUntilAskedAgainUs = 250'000;

class CoherenceScenario : public testing::Test, protected CoherenceObserver {
 protected:
  void begin(coherence::PlacementKind placement, const std::vector<NodeId>& nodes) {
    region_.placement = placement;
    CoherenceObserver& observer = *this;
    cluster_.emplace(CoherenceCluster::Options{.most_nodes = kNodes, .most_pages = kBlockPages}, observer);
    for (const NodeId node : nodes) start(node, nodes), cluster_->add_region(node, region_);
  }
  void start(NodeId node, const std::vector<NodeId>& present) {
    cluster_->start(
        node, {.self = node, .nodes = kNodes, .present = present, .minimum_hold_us = 0, .predict_migratory = false});
  }
  void deliver_all() {
    for (bool any = true; any;) {
      any = false;
      for (std::uint16_t from = 0; from < kNodes; ++from) {
        for (std::uint16_t to = 0; to < kNodes; ++to) {
          for (; cluster_->network().pending(NodeId{from}, NodeId{to}) > 0; any = true)
            cluster_->deliver(NodeId{from}, NodeId{to});
        }
      }
    }
  }
  void access(NodeId node, PageId page, Access want) {
    EXPECT_EQ(cluster_->fault(node, page, want), FaultOutcome::kPending);
    deliver_all();
    EXPECT_TRUE(cluster_->may(node, page, want));
  }
  void move_home(NodeId from, NodeId to) {
    cluster_->give_home(from, kBlock, to);
    deliver_all();
    EXPECT_EQ(cluster_->core(to).home_of(kBlock), to);
  }
  void die(NodeId node, const std::vector<NodeId>& others) {
    cluster_->stop(node, [](NodeId, std::size_t in_flight) { return in_flight; });
    for (const NodeId other : others) cluster_->node_died(other, node);
  }
  void time_passes(NodeId node) {
    cluster_->advance_to(cluster_->now() + kUntilAskedAgainUs);
    ASSERT_LE(cluster_->core(node).next_deadline(), cluster_->now()) << "it waits for nothing";
    cluster_->tick(node);
    deliver_all();
  }
  void lost(NodeId node, BlockId, coherence::PageSet pages) override { lost_[node.value] |= pages; }

  coherence::RegionSpec region_{.first_page = PageId{0}, .pages = kBlockPages, .anchors = {kFirst}};
  std::optional<CoherenceCluster> cluster_;
  coherence::PageSet lost_[kNodes] = {};
};

// Who knows of a death drops a request for a block that was with the dead, since the requester will ask again, and the
// log may know more by then. A requester that came after the death did not.
TEST_F(CoherenceScenario, a_newcomer_asks_again_for_what_died_before_it_came) {
  begin(coherence::PlacementKind::kFirstTouch, {kFirst, kSecond});
  access(kSecond, kPage, Access::kWrite);
  EXPECT_EQ(cluster_->core(kFirst).home_of(kBlock), kSecond);
  die(kSecond, {kFirst});
  start(kThird, {kFirst, kThird});
  cluster_->add_region(kThird, region_);
  cluster_->node_joined(kFirst, kThird);
  EXPECT_EQ(cluster_->fault(kThird, kPage, Access::kRead), FaultOutcome::kPending);
  deliver_all();
  EXPECT_EQ(lost_[kThird.value], 0u);
  cluster_->node_died(kThird, kSecond);  // its log comes to that
  time_passes(kThird);
  EXPECT_EQ(lost_[kThird.value], coherence::set_of(kPage));
}

// The owner has sent a page to a former home, which died before it could refuse it. So nobody knows that it was not
// taken, and the owner does not use it any more; the home still believes it to be there.
TEST_F(CoherenceScenario, an_owner_that_lost_a_page_says_so) {
  begin(coherence::PlacementKind::kNode, {kFirst, kSecond, kThird, kFourth});
  access(kThird, kPage, Access::kWrite);
  move_home(kFirst, kSecond);
  cluster_->give_up(kThird, kBlock, kSecond);
  cluster_->deliver(kThird, kFirst);
  cluster_->drop(kFirst, kThird);
  die(kFirst, {kSecond, kThird, kFourth});
  EXPECT_EQ(lost_[kThird.value], coherence::set_of(kPage));
  cluster_->home_hint(kFourth, kBlock, kSecond);
  EXPECT_EQ(cluster_->fault(kFourth, kPage, Access::kRead), FaultOutcome::kPending);
  deliver_all();
  EXPECT_EQ(lost_[kFourth.value], coherence::set_of(kPage));
  EXPECT_TRUE(CoreInspector::at_rest(cluster_->core(kSecond)));
}

// The home is dead, and the log names the home before it, who refuses pages.
TEST_F(CoherenceScenario, pages_are_not_sent_to_a_former_home_again_and_again) {
  begin(coherence::PlacementKind::kNode, {kFirst, kSecond, kThird, kFourth});
  access(kThird, kPage, Access::kWrite);
  move_home(kFirst, kSecond);
  move_home(kSecond, kFourth);
  access(kThird, kOtherPage, Access::kWrite);
  EXPECT_EQ(cluster_->core(kThird).home_of(kBlock), kFourth);
  die(kFourth, {kFirst, kSecond, kThird});
  cluster_->home_hint(kThird, kBlock, kSecond);
  cluster_->give_up(kThird, kBlock, kSecond);
  EXPECT_EQ(cluster_->network().pending(kThird, kSecond), 1u);
  deliver_all();
  cluster_->advance_to(cluster_->now() + kUntilAskedAgainUs);
  cluster_->give_up(kThird, kBlock, kSecond);
  EXPECT_EQ(cluster_->network().pending(), 0u);
  EXPECT_TRUE(cluster_->may(kThird, kPage, Access::kWrite) ||
              cluster_->fault(kThird, kPage, Access::kWrite) == FaultOutcome::kResolved);
}

// A home that moves asks all nodes whether all has arrived, also one whose log is not yet so far that it knows the
// region.
TEST_F(CoherenceScenario, a_home_moves_past_a_newcomer_that_does_not_know_the_region) {
  begin(coherence::PlacementKind::kNode, {kFirst, kSecond});
  access(kSecond, kPage, Access::kWrite);
  start(kThird, {kFirst, kSecond, kThird});
  for (const NodeId node : {kFirst, kSecond}) cluster_->node_joined(node, kThird);
  cluster_->give_home(kFirst, kBlock, kSecond);
  deliver_all();
  EXPECT_EQ(cluster_->core(kSecond).home_of(kBlock), kFirst);
  cluster_->add_region(kThird, region_);
  deliver_all();
  EXPECT_EQ(cluster_->core(kSecond).home_of(kBlock), kSecond);
}

}  // namespace
}  // namespace gallocy::sim
