// Which pages a node asks for together because it had them before (src/coherence/core_history.cc).
#include <gtest/gtest.h>

#include "coherence_cluster.h"
#include "coherence_inspector.h"

namespace gallocy::sim {
namespace {

constexpr NodeId kHome{0}, kOther{1};
constexpr unsigned kUsed = 32, kSome = 8, kMost = 28, kStep = 2;  // every other page, so that they are no stream
static_assert(kUsed * kStep <= kBlockPages);
constexpr std::uint64_t kLongUs = 5'000;

// Two nodes that use pages of one block in turn.
class CoherenceHistory : public testing::Test, private CoherenceObserver {
 public:
  CoherenceHistory() : cluster_(options(), *this) {}

  void access(NodeId node, unsigned page, Access want) {
    while (!cluster_.may(node, PageId{page}, want)) {
      (void)cluster_.fault(node, PageId{page}, want);
      while (deliver()) {
      }
      cluster_.advance_to(cluster_.now() + 1);
      for (const NodeId n : {kHome, kOther}) cluster_.tick(n);
    }
    if (want == Access::kWrite) cluster_.write(node, PageId{page}, 0, ++value_);
    EXPECT_EQ(cluster_.read(node, PageId{page}, 0), cluster_.latest(PageId{page}, 0));
  }
  void access_all(NodeId node, Access want) {
    for (unsigned i = 0; i < kUsed; ++i) access(node, kStep * i, want);
  }
  void access_some(NodeId node, Access want) {
    for (unsigned i = 0; i < kSome; ++i) access(node, kStep * (i * 5 % kUsed), want);
  }
  void time_passes() { cluster_.advance_to(cluster_.now() + kLongUs); }
  unsigned pages_of(NodeId node, Access right) {
    unsigned found = 0;
    for (unsigned i = 0; i < kUsed; ++i)
      found += coherence::CoreInspector::local(cluster_.core(node), PageId{kStep * i}).right() >= right ? 1 : 0;
    return found;
  }

 private:
  static CoherenceCluster::Options options() {
    CoherenceCluster::Options options;
    for (const NodeId node : {kHome, kOther}) {
      options.nodes.push_back({.self = node,
                               .nodes = 2,
                               .minimum_hold_us = 0,
                               .predict_migratory = false,
                               .move_home_after = 0,
                               .revisit_after_us = 1000});
    }
    options.regions = {
        {.first_page = PageId{0}, .pages = kBlockPages, .placement = coherence::PlacementKind::kNode, .node = kHome}};
    return options;
  }
  bool deliver() {
    bool any = false;
    for (const auto& [from, to] : {std::pair{kHome, kOther}, std::pair{kOther, kHome}}) {
      for (; !cluster_.network().in_flight(from, to).empty(); any = true) cluster_.deliver(from, to);
    }
    return any;
  }

  CoherenceCluster cluster_;
  std::uint64_t value_ = 0;
};

TEST_F(CoherenceHistory, written_pages_come_back_together) {
  for (const NodeId node : {kOther, kHome}) {
    access_all(node, Access::kWrite);
    access_all(node == kHome ? kOther : kHome, Access::kWrite);
    time_passes();
    access_some(node, Access::kWrite);
    EXPECT_GE(pages_of(node, Access::kWrite), kMost) << node.value;
  }
}

TEST_F(CoherenceHistory, pages_read_elsewhere_become_writable_together) {
  access_all(kOther, Access::kWrite);
  access_all(kHome, Access::kRead);
  time_passes();
  access_some(kOther, Access::kWrite);
  EXPECT_GE(pages_of(kOther, Access::kWrite), kMost);
}

TEST_F(CoherenceHistory, pages_written_elsewhere_become_readable_together) {
  access_all(kOther, Access::kRead);
  access_all(kHome, Access::kWrite);
  time_passes();
  access_some(kOther, Access::kRead);
  EXPECT_GE(pages_of(kOther, Access::kRead), kMost);
}

TEST_F(CoherenceHistory, pages_taken_just_now_are_left_where_they_are) {
  access_all(kOther, Access::kWrite);
  access_all(kHome, Access::kWrite);
  access_some(kOther, Access::kWrite);
  EXPECT_EQ(pages_of(kOther, Access::kWrite), kSome);
}

TEST_F(CoherenceHistory, pages_that_are_not_touched_come_no_more) {
  access_all(kOther, Access::kWrite);
  access_all(kHome, Access::kWrite);
  time_passes();
  access_some(kOther, Access::kWrite);
  for (int round = 0; round < 8; ++round) {
    access_all(kHome, Access::kWrite);
    time_passes();
    access(kOther, kStep * 3, Access::kWrite);
  }
  EXPECT_LE(pages_of(kOther, Access::kWrite), 2u);
}

}  // namespace
}  // namespace gallocy::sim
