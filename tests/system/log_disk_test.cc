// The log on disk (--log-dir) with real processes: ends of all of them at once, disks that are full, damaged,
// read-only, of another cluster, or in use.
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "launch_fixture.h"

namespace gallocy::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr milliseconds kAllEnd{90'000};  // bound for what takes seconds on an idle machine

class LogDisk : public LaunchFixture {
 protected:
  std::unique_ptr<Process> run(unsigned nodes, const std::string& directory, unsigned counter, std::uint64_t from,
                               std::uint64_t count, Process::Options options = {}) {
    return gallocy({"launch", "-n", std::to_string(nodes), "--log-dir", directory, "--", LOG_NODE,
                    std::to_string(counter), std::to_string(from), std::to_string(count)},
                   std::move(options));
  }
  void expect_good(unsigned nodes, std::uint64_t from, std::uint64_t count) {
    auto launcher = run(nodes, directory_, 0, from, count);
    EXPECT_EQ(launcher->wait(kAllEnd), 0) << launcher->error();
    output_ = launcher->output(), error_ = launcher->error();
  }
  // Does not start, with this status and this in its message.
  void expect_refusal(unsigned nodes, const std::string& directory, int status, const std::string& said,
                      Process::Options options = {}) {
    auto launcher = run(nodes, directory, 0, 1, 1, std::move(options));
    EXPECT_EQ(launcher->wait(kAllEnd), status) << launcher->error();
    EXPECT_THAT(launcher->error(), HasSubstr(said));
  }
  static std::uint64_t acknowledged(const Process& launcher) {
    std::uint64_t last = 0;
    for (const std::string& line : lines_of(launcher.output())) {
      if (line.starts_with("acknowledged ")) last = std::stoull(line.substr(13));
    }
    return last;
  }
  static bool await_acknowledged(const Process& launcher, std::uint64_t number) {
    return eventually([&] { return acknowledged(launcher) >= number; }, kAllEnd);
  }
  fs::path folder_of(unsigned node) const { return fs::path(directory_) / ("node-" + std::to_string(node)); }
  fs::path last_segment(unsigned node) const {
    fs::path last;
    for (const auto& entry : fs::directory_iterator(folder_of(node))) {
      if (entry.path().filename().string().starts_with("log-") && entry.path() > last) last = entry.path();
    }
    return last;
  }

  const std::string directory_ = folder_ + "/log";
  std::string output_, error_;  // of the last good run
};

TEST_F(LogDisk, keeps_the_log_of_all_nodes_that_end) {
  for (const unsigned nodes : {3u, 2u}) {
    fs::remove_all(directory_);
    expect_good(nodes, 1, 20);
    const auto region = output_.substr(output_.find("the region is"));
    for (int round = 1; round <= 3; ++round) {
      expect_good(nodes, 1 + 20 * static_cast<std::uint64_t>(round), 20);
      EXPECT_THAT(output_, HasSubstr(region));
    }
  }
}

TEST_F(LogDisk, has_what_was_acknowledged_after_all_are_killed_at_once) {
  std::uint64_t from = 1;
  for (int round = 0; round < 4; ++round) {
    auto launcher = run(3, directory_, static_cast<unsigned>(round) % 3, from, 50'000);
    const std::uint64_t enough = from + 30;
    ASSERT_TRUE(await_acknowledged(*launcher, enough)) << launcher->error();
    for (unsigned node = 0; node < 3; ++node) ::kill(pid_of(*launcher, node), SIGKILL);
    EXPECT_NE(launcher->wait(kAllEnd), -1);
    from = acknowledged(*launcher) + 1;
    EXPECT_GT(from, enough);
  }
  expect_good(3, from, 5);
}

TEST_F(LogDisk, cuts_off_the_torn_end_of_a_write) {
  expect_good(3, 1, 20);
  std::ofstream(last_segment(1), std::ios::app | std::ios::binary) << std::string(20, '\x17');
  expect_good(3, 21, 5);
  EXPECT_THAT(error_, HasSubstr("20 bytes, was cut off"));
}

TEST_F(LogDisk, does_not_go_on_with_a_log_that_is_damaged) {
  expect_good(3, 1, 20);
  damage(last_segment(1));
  expect_refusal(3, directory_, 76, "the log on disk is damaged");
}

TEST_F(LogDisk, is_refused_by_another_cluster) {
  expect_good(3, 1, 3);
  expect_refusal(4, directory_, 64, "start as many nodes as founded it");
  auto other = run(3, folder_ + "/other", 0, 1, 3);
  ASSERT_EQ(other->wait(kAllEnd), 0) << other->error();
  const auto here = folder_of(1), there = fs::path(folder_ + "/other/node-1");
  fs::rename(here, here.string() + ".away");
  // An empty folder is that of a new cluster: what node 1 promised in the old one is lost.
  expect_refusal(3, directory_, 64, "is of another cluster than node");
  fs::remove_all(here);
  fs::rename(there, here);
  expect_refusal(3, directory_, 64, "is of another cluster than node");
  fs::remove_all(here);
  fs::rename(folder_of(2), here);
  fs::rename(here.string() + ".away", folder_of(2));
  expect_refusal(3, directory_, 64, "of 3, this is node");  // one of the two says it first
}

TEST_F(LogDisk, is_used_by_one_cluster_at_a_time) {
  auto launcher = run(3, directory_, 0, 1, 50'000);
  ASSERT_TRUE(await_acknowledged(*launcher, 1)) << launcher->error();
  expect_refusal(3, directory_, 78, "is in use by process");
  EXPECT_TRUE(await_acknowledged(*launcher, acknowledged(*launcher) + 10));
  launcher->signal(SIGTERM);
  EXPECT_NE(launcher->wait(kAllEnd), -1);
}

TEST_F(LogDisk, needs_a_folder_that_it_may_write) {
  expect_refusal(3, "/dev/null/log", 71, "/dev/null/log/node-");
  expect_refusal(1, directory_, 69, "needs two nodes or more");
  fs::create_directories(folder_of(0));
  if (::geteuid() != 0) GTEST_SKIP() << "the rest needs root: it may become another user";
  for (const std::string& folder : {folder_, folder_ + "/run"}) ::chmod(folder.c_str(), 0777);
  expect_refusal(3, directory_, 77, "Permission denied", {.user = 65534});
}

// ---------------------------------------------------------------------------------------------- full disks

class FullLogDisk : public LogDisk, public ::testing::WithParamInterface<unsigned> {
 protected:
  void SetUp() override {
    LogDisk::SetUp();
    fs::create_directories(full());
    mounted_ = ::mount("tmpfs", full().c_str(), "tmpfs", 0, "size=128k") == 0;
    if (!mounted_) GTEST_SKIP() << "a small disk cannot be mounted here";
  }
  void TearDown() override {
    if (mounted_) ::umount2(full().c_str(), MNT_DETACH);
    LogDisk::TearDown();
  }
  fs::path full() const { return folder_of(GetParam()); }
  bool make_room() const { return ::mount("tmpfs", full().c_str(), "tmpfs", MS_REMOUNT, "size=64m") == 0; }

  bool mounted_ = false;
};

INSTANTIATE_TEST_SUITE_P(Of, FullLogDisk, ::testing::Values(0u, 2u),
                         [](const auto& node) { return node.param == 0 ? "the_leader" : "a_follower"; });

TEST_P(FullLogDisk, stops_its_node_only_and_only_until_there_is_room) {
  constexpr std::uint64_t kCount = 4'000;  // several times what fits
  auto launcher = run(3, directory_, 1, 1, kCount);
  ASSERT_TRUE(eventually([&] { return launcher->error().find("log_disk_full") != std::string::npos; }, kAllEnd))
      << launcher->error();
  const std::uint64_t then = acknowledged(*launcher);
  EXPECT_LT(then, kCount - 100);
  ASSERT_TRUE(await_acknowledged(*launcher, then + 50)) << "the others do not go on: " << launcher->error();
  ASSERT_TRUE(make_room());
  EXPECT_EQ(launcher->wait(kAllEnd), 0) << launcher->error();
  EXPECT_THAT(launcher->error(), HasSubstr("log_has_room"));
  EXPECT_THAT(launcher->error(), Not(HasSubstr("bug")));
  expect_good(3, kCount + 1, 5);
}

}  // namespace
}  // namespace gallocy::testing
