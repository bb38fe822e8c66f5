// Clusters that live on lose nodes and lines under load: five nodes on hosts of their own, and programs that transfer
// money in durable memory all the while. After each failure the transfers go on, no money was made or lost, the members
// are those who live, and others may join.
#include <poll.h>
#include <signal.h>

#include <set>

#include "members_fixture.h"

namespace gallocy::testing {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr unsigned kHosts = 5;

class Survival : public MembersFixture {
 protected:
  void SetUp() override {
    MembersFixture::SetUp();
    hosts_ = std::make_unique<FakeHosts>(kHosts + 1);
    if (!hosts_->made()) GTEST_SKIP() << "no network namespaces here";
    listen_ = "10.77.0.2:7000";
    memory_ = "64M";
    for (unsigned host = 0; host < kHosts; ++host) add_node({}, static_cast<int>(host));
    load_ = tenant({"transfers", "bank", "0"}, kHosts);
    await_progress();
    // Until then the log may end with one of the few that keep it.
    ASSERT_TRUE(eventually([&] { return voters() == kHosts; }, kSoon)) << status();
  }

  unsigned voters() {
    unsigned count = 0;
    const nlohmann::json report = status();
    for (const auto& node : report.at("nodes"))
      count += node.contains("logs") && node.at("logs").at(0).at("role") != "learner";
    return count;
  }

  // So many more transfers have happened by now.
  void await_progress() {
    const std::size_t before = lines_of(load_->output()).size();
    ASSERT_TRUE(eventually([&] { return lines_of(load_->output()).size() > before + 3; }, kSoon))
        << load_->output() << load_->error();
  }
  std::string role(unsigned host) {
    const nlohmann::json report = status();
    for (const auto& node : report.at("nodes")) {
      if (node.at("address") == addresses_[host] && node.contains("logs")) return node.at("logs").at(0).at("role");
    }
    return "";
  }
  unsigned first_that_is(const std::string& wanted) {
    for (unsigned host = 0; host < kHosts; ++host) {
      if (role(host) == wanted) return host;
    }
    ADD_FAILURE() << "nobody is " << wanted << ": " << status();
    return 0;
  }
  bool is_member(unsigned host) {
    const nlohmann::json report = status();
    return std::ranges::any_of(report.at("cluster").at("members"),
                               [&](const auto& member) { return member.at("address") == addresses_[host]; });
  }
  // Somebody who lives answers from now on.
  void ask(unsigned host) { contact_ = addresses_[host]; }
  void kill_host(unsigned host) {
    ask((host + 1) % kHosts);
    nodes_[host]->signal(SIGKILL);
    EXPECT_EQ(nodes_[host]->wait(kSoon), 128 + SIGKILL);
    gone_.insert(host);
  }
  void expect_goes_on() {
    for (const unsigned host : gone_)
      EXPECT_TRUE(eventually([&] { return !is_member(host); }, kSoon)) << host << ": " << status();
    await_progress();
    expect_done(*tenant({"audit", "bank", "transfers", "bank", "20", "audit", "bank"}, kHosts));
  }
  void TearDown() override {
    if (load_ != nullptr) {
      load_->signal(SIGTERM);
      EXPECT_EQ(load_->wait(kSoon), 0) << load_->output() << load_->error();
    }
    for (unsigned host = kHosts; host-- > 0;) {
      if (host >= nodes_.size() || gone_.contains(host)) continue;
      nodes_[host]->signal(SIGTERM);
      EXPECT_EQ(nodes_[host]->wait(kSoon), 0) << host << ": " << nodes_[host]->output() << nodes_[host]->error();
    }
    MembersFixture::TearDown();
  }

  std::unique_ptr<Process> load_;
  std::set<unsigned> gone_;  // hosts whose node has ended
};

TEST_F(Survival, of_a_killed_leader) {
  kill_host(first_that_is("leader"));
  expect_goes_on();
}

// With transactions under way that nobody waits for yet.
TEST_F(Survival, of_a_killed_voter_among_submitted_transactions) {
  auto other = tenant({"submits", "stream1", "0"}, kHosts);
  ASSERT_TRUE(other->await_output("submitted 100\n", kSoon)) << other->error();
  kill_host(first_that_is("voter"));
  const std::size_t before = lines_of(other->output()).size();
  EXPECT_TRUE(eventually([&] { return lines_of(other->output()).size() > before + 20; }, kSoon)) << other->error();
  other->signal(SIGTERM);
  expect_done(*other);
  expect_goes_on();
}

TEST_F(Survival, of_a_killed_voter) {
  kill_host(first_that_is("voter"));
  expect_goes_on();
}

// What the first one kept is at others before it goes.
TEST_F(Survival, of_one_that_leaves_and_one_that_dies_just_then) {
  auto other = tenant({"transfers", "bank1", "0"}, kHosts);
  ASSERT_TRUE(other->await_output("transfer 10\n", kSoon)) << other->error();
  const unsigned dies = first_that_is("voter"), leaves = (dies + 1) % kHosts;
  nodes_[leaves]->signal(SIGTERM);
  gone_.insert(leaves);
  EXPECT_EQ(nodes_[leaves]->wait(kSoon), 0) << nodes_[leaves]->error();
  kill_host(dies);
  ask((dies + 2) % kHosts);
  expect_goes_on();
  other->signal(SIGTERM);
  expect_done(*other);
  expect_done(*tenant({"audit", "bank1"}, kHosts));
}

TEST_F(Survival, of_a_killed_program) {
  auto other = tenant({"transfers", "bank", "0"}, kHosts);
  ASSERT_TRUE(other->await_output("transfer 10\n", kSoon)) << other->error();
  const std::size_t members = status().at("cluster").at("members").size();
  other->signal(SIGKILL);
  EXPECT_EQ(other->wait(kSoon), 128 + SIGKILL);
  EXPECT_TRUE(eventually([&] { return status().at("cluster").at("members").size() == members - 1; }, kSoon));
  expect_goes_on();
}

// Ordinary memory that was on it is gone: who reads it is told where it was.
TEST_F(Survival, of_a_killed_home_of_blocks) {
  expect_done(*tenant({"fill", "data", "4", "7"}, kHosts));
  unsigned home = kHosts;
  const nlohmann::json report = status();
  for (unsigned host = 1; host < kHosts && home == kHosts; ++host) {
    for (const auto& node : report.at("nodes")) {
      if (node.at("address") == addresses_[host] && node.at("memory").at("homes") > 0) home = host;
    }
  }
  ASSERT_LT(home, kHosts) << report;
  const unsigned number = home;  // of the node: they were given in order
  kill_host(home);
  expect_goes_on();
  const auto reader = tenant({"check", "data", "4", "7"}, kHosts);
  EXPECT_EQ(reader->wait(kSoon), 70) << reader->output() << reader->error();
  EXPECT_THAT(reader->error(), HasSubstr("data"));
  EXPECT_THAT(reader->error(), HasSubstr("node " + std::to_string(number)));
  expect_goes_on();
}

// It holds no lease, and leads no more; but nobody gave it up.
TEST_F(Survival, of_a_pause_longer_than_the_lease) {
  const unsigned victim = first_that_is("leader");
  ask((victim + 1) % kHosts);
  nodes_[victim]->signal(SIGSTOP);
  ::poll(nullptr, 0, 1'500);  // not a guess: the length of the pause is what is tested
  nodes_[victim]->signal(SIGCONT);
  await_progress();
  EXPECT_TRUE(is_member(victim)) << status();
  expect_goes_on();
}

TEST_F(Survival, of_a_pause_longer_than_the_others_wait) {
  const unsigned victim = first_that_is("leader");
  ask((victim + 1) % kHosts);
  nodes_[victim]->signal(SIGSTOP);
  ASSERT_TRUE(eventually([&] { return !is_member(victim); }, kSoon)) << status();
  await_progress();
  nodes_[victim]->signal(SIGCONT);
  EXPECT_EQ(nodes_[victim]->wait(kSoon), 70) << nodes_[victim]->error();
  gone_.insert(victim);
  expect_goes_on();
}

// The log has one of them declared dead, and the other goes on.
TEST_F(Survival, of_a_line_between_two) {
  hosts_->part(3, 4);
  ASSERT_TRUE(eventually([&] { return is_member(3) != is_member(4); }, kSoon)) << status();
  const unsigned victim = is_member(3) ? 4 : 3;
  hosts_->restore(3, 4);
  EXPECT_EQ(nodes_[victim]->wait(kSoon), 70) << nodes_[victim]->error();
  gone_.insert(victim);
  expect_goes_on();
}

TEST_F(Survival, of_two_that_are_cut_off_and_end) {
  for (const unsigned host : {3u, 4u}) hosts_->set_link(host, "down");
  for (const unsigned host : {3u, 4u}) {
    EXPECT_EQ(nodes_[host]->wait(kSoon), 70) << nodes_[host]->error();
    gone_.insert(host);
  }
  expect_goes_on();
}

}  // namespace
}  // namespace gallocy::testing
