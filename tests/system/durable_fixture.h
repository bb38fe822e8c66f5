// Real nodes that make transactions without pause (durable_workloads.h) and may be killed: what they share as tests.
#pragma once

#include <signal.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "durable_board.h"
#include "launch_fixture.h"

namespace gallocy::testing {

inline constexpr milliseconds kBound{60'000};  // for what takes less than a second on an idle machine

class DurableFixture : public LaunchFixture {
 protected:
  void launch_nodes(const std::string& workload, unsigned nodes, unsigned backups) {
    nodes_ = nodes;
    if (board_ != nullptr) ::munmap(board_, sizeof(Board));
    board_ = Board::map(folder_ + "/board");
    for (BoardNode& node : board_->node) node.epoch = 0;
    std::ranges::fill(killed_, false);
    std::vector<std::string> command = {"launch", "-n", std::to_string(nodes), "--on-peer-lost", on_peer_lost_};
    if (!log_dir_.empty()) command.insert(command.end(), {"--log-dir", log_dir_});
    command.insert(command.end(), {"--", DURABLE_NODE, workload, folder_ + "/board", std::to_string(backups)});
    launcher_ = gallocy(std::move(command));
  }
  void start(const std::string& workload, unsigned nodes, unsigned backups) {
    launch_nodes(workload, nodes, backups);
    ASSERT_NE(board_, nullptr);
    for (unsigned n = 0; n < nodes; ++n) {
      ASSERT_TRUE(launcher_->await_output("node " + std::to_string(n) + " is ready\n", kBound)) << said();
    }
    await_progress(20);
  }
  void TearDown() override {
    if (board_ != nullptr) ::munmap(board_, sizeof(Board));
    launcher_.reset();
    LaunchFixture::TearDown();
  }

  std::string said() const { return launcher_->output() + launcher_->error(); }
  bool is_alive(unsigned node) const { return !killed_[node]; }

  // Each living node has so many more transactions acknowledged.
  void await_progress(std::uint64_t more) {
    for (unsigned n = 0; n < nodes_; ++n) {
      if (!is_alive(n)) continue;
      const std::uint64_t before = board_->acknowledged(n);
      ASSERT_TRUE(eventually([&] { return board_->acknowledged(n) >= before + more; }, kBound))
          << "node " << n << " does not get on: " << said();
    }
  }
  void kill_nodes(const std::vector<unsigned>& victims, int signal = SIGKILL) {
    std::uint64_t epoch = 0;
    for (unsigned n = 0; n < nodes_; ++n) epoch = std::max<std::uint64_t>(epoch, board_->node[n].epoch);
    epoch_ = epoch + victims.size();
    for (const unsigned n : victims) {
      killed_[n] = true;
      ::kill(pid_of(*launcher_, n), signal);
    }
  }
  void await_redundancy() {
    for (unsigned n = 0; n < nodes_; ++n) {
      if (!is_alive(n)) continue;
      const BoardNode& node = board_->node[n];
      ASSERT_TRUE(eventually([&] { return node.epoch >= epoch_ && node.unrestored == 0; }, kBound))
          << "node " << n << " in epoch " << node.epoch << " has " << node.unrestored
          << " blocks to restore: " << said();
    }
    await_progress(20);
  }
  // In order; what they were told stays on the board for the next start.
  void finish() {
    board_->stop = 1;
    for (unsigned n = 0; n < nodes_; ++n) {
      if (!is_alive(n)) continue;
      ASSERT_TRUE(launcher_->await_output("node " + std::to_string(n) + " finished\n", kBound)) << said();
    }
    EXPECT_EQ(launcher_->wait(kBound), 0) << said();
    board_->stop = 0;
  }

  std::string log_dir_, on_peer_lost_ = "continue";
  unsigned nodes_ = 0;
  Board* board_ = nullptr;
  std::unique_ptr<Process> launcher_;

 private:
  bool killed_[kMostNodes] = {};
  std::uint64_t epoch_ = 0;
};

}  // namespace gallocy::testing
