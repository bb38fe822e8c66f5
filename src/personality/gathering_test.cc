#include "personality/gathering.h"

#include <gtest/gtest.h>

namespace gallocy::personality {
namespace {

constexpr std::int64_t kPeriodNs = 50'000'000;
constexpr double kMuch = 100e6, kNothing = 0;

// A cluster whose nodes have one thread each.
class Cluster {
 public:
  explicit Cluster(std::vector<unsigned> processors) : gathering_(processors), totals_(processors.size()) {
    for (auto& node : totals_) node.received_bytes.resize(totals_.size());
    EXPECT_EQ(gathering_.sample(now_ns_, totals_), std::nullopt);
  }

  // One period in which threads wait for this share of their time, and bytes go from each node to the others.
  std::optional<Gathering::Places> period(double waits, double bytes_per_second) {
    for (std::size_t i = 0; i < totals_.size(); ++i) waited(i, waits);
    for (std::size_t i = 0; i < totals_.size(); ++i) {
      for (std::size_t j = 0; j < totals_.size(); ++j) received(i, j, bytes_per_second);
    }
    return end_period();
  }
  void waited(std::size_t node, double share) {
    totals_[node].active_ns += kPeriodNs;
    totals_[node].worked_ns += static_cast<std::int64_t>((1 - share) * kPeriodNs);
  }
  void received(std::size_t node, std::size_t from, double bytes_per_second) {
    totals_[node].received_bytes[from] += static_cast<std::uint64_t>(bytes_per_second * kPeriodNs / 1e9);
  }
  std::optional<Gathering::Places> end_period() {
    now_ns_ += kPeriodNs;
    return gathering_.sample(now_ns_, totals_);
  }
  // How many periods of work without waiting until the threads are spread again.
  int periods_until_spread() {
    for (int i = 1; i < 10'000; ++i) {
      if (const auto places = period(0, kNothing)) {
        EXPECT_EQ(places->back(), NodeId{static_cast<std::uint16_t>(totals_.size() - 1)});
        return i;
      }
    }
    return -1;
  }

 private:
  Gathering gathering_;
  std::vector<SharingTotals> totals_;
  std::int64_t now_ns_ = 1;
};

using Places = Gathering::Places;

TEST(Gathering, nodes_that_take_pages_from_each_other_are_gathered) {
  Cluster cluster({1, 1});
  EXPECT_EQ(cluster.period(0.9, kMuch), std::nullopt);  // may pass
  EXPECT_EQ(cluster.period(0.9, kMuch), (Places{NodeId{0}, NodeId{0}}));
}

TEST(Gathering, who_works_is_left_alone) {
  Cluster cluster({1, 1});
  for (int i = 0; i < 100; ++i) EXPECT_EQ(cluster.period(0.4, kMuch), std::nullopt);
}

TEST(Gathering, data_that_stream_one_way_are_no_reason) {
  Cluster cluster({1, 1});
  for (int i = 0; i < 100; ++i) {
    cluster.waited(0, 0.9);
    cluster.waited(1, 0.9);
    cluster.received(1, 0, kMuch);
    cluster.received(0, 1, kMuch / 100);
    EXPECT_EQ(cluster.end_period(), std::nullopt);
  }
}

TEST(Gathering, one_bad_period_is_no_reason) {
  Cluster cluster({1, 1});
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(cluster.period(0.9, kMuch), std::nullopt);
    EXPECT_EQ(cluster.period(0.1, kMuch), std::nullopt);
  }
}

TEST(Gathering, too_few_processors_for_all_are_no_gain) {
  Cluster cluster({1, 1, 1, 1});
  // Four threads that each run for 30 % do more than one processor.
  for (int i = 0; i < 100; ++i) EXPECT_EQ(cluster.period(0.7, kMuch), std::nullopt);
}

TEST(Gathering, the_home_is_chosen) {
  Cluster cluster({2, 8, 4});
  EXPECT_EQ(cluster.period(0.9, kMuch), std::nullopt);
  EXPECT_EQ(cluster.period(0.9, kMuch), (Places{NodeId{0}, NodeId{0}, NodeId{0}}));
}

TEST(Gathering, without_the_home_the_node_with_most_processors_is_chosen) {
  Cluster cluster({2, 4, 8});
  for (int i = 0; i < 2; ++i) {
    for (const std::size_t node : {1, 2}) {
      cluster.waited(node, 0.9);
      cluster.received(node, 3 - node, kMuch);
    }
    const auto places = cluster.end_period();
    if (i == 1) {
      EXPECT_EQ(places, (Places{NodeId{0}, NodeId{2}, NodeId{2}}));
    }
  }
}

TEST(Gathering, others_stay_where_they_are) {
  Cluster cluster({1, 1, 1});
  for (int i = 0; i < 2; ++i) {
    cluster.waited(0, 0.1);
    cluster.waited(1, 0.9);
    cluster.waited(2, 0.9);
    cluster.received(1, 2, kMuch);
    cluster.received(2, 1, kMuch);
    const auto places = cluster.end_period();
    if (i == 1) {
      EXPECT_EQ(places, (Places{NodeId{0}, NodeId{1}, NodeId{1}}));
    }
  }
}

TEST(Gathering, who_shares_on_is_spread_less_and_less_often) {
  Cluster cluster({1, 1});
  int before = 0;
  for (int round = 0; round < 4; ++round) {
    EXPECT_EQ(cluster.period(0.9, kMuch), std::nullopt);
    EXPECT_NE(cluster.period(0.9, kMuch), std::nullopt);
    const int periods = cluster.periods_until_spread();
    EXPECT_GE(periods, 2 * before);
    before = periods;
  }
}

TEST(Gathering, who_shared_long_ago_begins_anew) {
  Cluster cluster({1, 1});
  int lasted[2];
  for (int& periods : lasted) {
    (void)cluster.period(0.9, kMuch);
    EXPECT_NE(cluster.period(0.9, kMuch), std::nullopt);
    periods = cluster.periods_until_spread();
    for (int i = 0; i < 100; ++i) EXPECT_EQ(cluster.period(0.1, kMuch), std::nullopt);
  }
  EXPECT_EQ(lasted[0], lasted[1]);
}

}  // namespace
}  // namespace gallocy::personality
