// The journal of durable memory (--log-dir) with real processes: ends of all nodes at once, writes that are torn, disks
// that are damaged, lost or full. What a thread was told it finds when all have started again, and no money is made.
#include <sys/mount.h>

#include <filesystem>

#include "durable_fixture.h"

namespace gallocy::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Values;

class DurableDisk : public DurableFixture {
 protected:
  DurableDisk() { log_dir_ = folder_ + "/log"; }

  fs::path journal_of(unsigned node) const { return fs::path(log_dir_) / ("node-" + std::to_string(node)) / "durable"; }
  void start_bank() { start("bank", 3, 1); }
  // They start, look whether all is there, go on, and end in order.
  void expect_all_there() {
    ASSERT_NO_FATAL_FAILURE(start_bank());
    finish();
  }
  void await_end_of_all() { EXPECT_GT(launcher_->wait(kBound), 0) << said(); }
  void kill_all() {
    kill_nodes({0, 1, 2});
    await_end_of_all();
  }
  bool await_error(const std::string& text) const {
    return eventually([&] { return launcher_->error().find(text) != std::string::npos; }, kBound);
  }
};

// Killed under load; in the end they finish, and start once more.
class DurableDiskWith : public DurableDisk, public ::testing::WithParamInterface<const char*> {};

TEST_P(DurableDiskWith, has_what_was_acknowledged_when_all_start_again) {
  for (int round = 0; round < 3; ++round) {
    start(GetParam(), 3, 1);
    await_progress(50);
    kill_all();
  }
  for (int round = 0; round < 2; ++round) {
    start(GetParam(), 3, 1);
    finish();
  }
}

INSTANTIATE_TEST_SUITE_P(Workload, DurableDiskWith, Values("bank", "section_bank"),
                         [](const auto& workload) { return std::string(workload.param); });

// ---------------------------------------------------------------------------------------------- torn writes

class TornDurableDisk : public DurableDisk, public ::testing::WithParamInterface<Tear> {};

INSTANTIATE_TEST_SUITE_P(At, TornDurableDisk, Values(Tear::kCut, Tear::kZeroed, Tear::kScrambled), [](const auto& how) {
  return how.param == Tear::kCut ? "its_end" : how.param == Tear::kZeroed ? "zeros" : "noise";
});

TEST_P(TornDurableDisk, has_what_was_acknowledged_before_the_power_went) {
  for (unsigned victim = 0; victim < 3; ++victim) {
    start_bank();
    await_progress(50);
    board_->node[victim].tear = GetParam();
    await_end_of_all();
    start_bank();
    EXPECT_THAT(launcher_->error(), HasSubstr(journal_of(victim).string()));
    EXPECT_THAT(launcher_->error(), HasSubstr("the end of the last write"));
    finish();
  }
}

// ---------------------------------------------------------------------------------------------- damaged and lost ones

TEST_F(DurableDisk, does_not_go_on_with_a_journal_that_is_damaged_but_without_it) {
  start_bank();
  await_progress(50);
  kill_all();
  damage(journal_of(1) / "log-0000000000000001");
  on_peer_lost_ = "end";
  launch_nodes("bank", 3, 1);
  EXPECT_EQ(launcher_->wait(kBound), 76) << said();
  EXPECT_THAT(launcher_->error(), HasSubstr(journal_of(1).string() + ": the log on disk is damaged"));
  EXPECT_THAT(launcher_->error(), HasSubstr("remove this folder"));
  fs::remove_all(journal_of(1));
  on_peer_lost_ = "continue";
  ASSERT_NO_FATAL_FAILURE(start_bank());
  await_redundancy();  // the others have restored it
  finish();
  fs::remove_all(journal_of(2));
  expect_all_there();
}

// ---------------------------------------------------------------------------------------------- full disks

class FullDurableDisk : public DurableDisk {
 protected:
  void SetUp() override {
    DurableDisk::SetUp();
    fs::create_directories(full());
    mounted_ = ::mount("tmpfs", full().c_str(), "tmpfs", 0, "size=1m") == 0;
    if (!mounted_) GTEST_SKIP() << "a small disk cannot be mounted here";
    start_bank();
    ASSERT_TRUE(await_error("log_disk_full")) << said();
  }
  void TearDown() override {
    if (mounted_) ::umount2(full().c_str(), MNT_DETACH);
    DurableDisk::TearDown();
  }
  fs::path full() const { return journal_of(1); }
  bool make_room() const { return ::mount("tmpfs", full().c_str(), "tmpfs", MS_REMOUNT, "size=64m") == 0; }

  bool mounted_ = false;
};

TEST_F(FullDurableDisk, lets_commits_wait_until_there_is_room) {
  // What its threads were told just before may not be on the board yet.
  const std::uint64_t told = board_->acknowledged(1) + kThreads;
  EXPECT_FALSE(eventually([&] { return board_->acknowledged(1) > told; }, milliseconds(500)));
  ASSERT_TRUE(make_room());
  await_progress(50);
  EXPECT_TRUE(await_error("log_has_room")) << said();
  finish();
  EXPECT_THAT(launcher_->error(), Not(HasSubstr("bug")));
  expect_all_there();
}

TEST_F(FullDurableDisk, has_what_was_acknowledged_when_all_end_meanwhile) {
  kill_all();
  ASSERT_TRUE(make_room());
  expect_all_there();
}

}  // namespace
}  // namespace gallocy::testing
