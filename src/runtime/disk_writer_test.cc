#include "runtime/disk_writer.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <future>
#include <memory>
#include <optional>

#include "runtime/log_directory.h"

namespace gallocy::runtime {
namespace {

class DiskWriterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gallocy-disk-writer-XXXXXX";
    folder_ = ::mkdtemp(name);
    auto files = LogDirectory::open(folder_);
    ASSERT_TRUE(files);
    files_ = *std::move(files);
    raft::PersistentState found;
    std::vector<std::string> said;
    auto store = raft::Store::open(*files_, {}, found, said);
    ASSERT_TRUE(store);
    store_.emplace(*std::move(store));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  raft::PersistentState reopened() {
    raft::PersistentState found;
    std::vector<std::string> said;
    const auto files = LogDirectory::open(folder_);
    EXPECT_TRUE(files && raft::Store::open(**files, {}, found, said));
    return found;
  }
  static raft::Persist entry(std::uint64_t number) {
    return {.sequence = number,
            .term = raft::Term{1},
            .first = LogIndex{number},
            .entries = {{raft::Term{1}, raft::EntryKind::kNormal, nullptr}}};
  }

  std::string folder_;
  std::unique_ptr<LogDirectory> files_;
  std::optional<raft::Store> store_;
};

// The poller may have something to write before the node has come to start it.
TEST_F(DiskWriterTest, writes_what_came_before_its_start) {
  {
    DiskWriter writer(*store_, folder_, NodeId{0});
    writer.write(entry(1));
    writer.write(entry(2));
    std::promise<void> all;
    writer.start({.written =
                      [&](std::uint64_t sequence) {
                        if (sequence == 3) all.set_value();
                      },
                  .full = [] {}});
    writer.write(entry(3));
    all.get_future().wait();
  }
  store_.reset();
  files_.reset();
  EXPECT_EQ(reopened().entries.size(), 3u);
}

TEST_F(DiskWriterTest, ends_without_a_start) {
  DiskWriter writer(*store_, folder_, NodeId{0});
  writer.write(entry(1));
}

}  // namespace
}  // namespace gallocy::runtime
