// What tests of launching share: a run directory of their own, and the assertion that nothing is left behind.
#pragma once

#include <gmock/gmock.h>

#include <memory>
#include <string>
#include <vector>

#include "process.h"

namespace gallocy::testing {

class LaunchFixture : public ::testing::Test {
 protected:
  LaunchFixture();
  void SetUp() override;
  // No process of the test may live on.
  void TearDown() override;

  using Arguments = std::vector<std::string>;
  // `gallocy` with these arguments.
  std::unique_ptr<Process> gallocy(Arguments arguments, Process::Options options = {});
  // `gallocy launch FLAGS -- script_node ACTIONS` (script_node.cc).
  std::unique_ptr<Process> launch(Arguments flags, const Arguments& actions, Process::Options options = {});

  // The pid that an instance printed as "node N is PID".
  static pid_t pid_of(const Process& launcher, unsigned node);

  // Some bytes of the file, which was written long ago, are others now.
  static void damage(const std::string& file);

  // Lines that the launcher itself printed.
  static std::vector<std::string> messages(const Process& launcher);

  std::string folder_;  // removed after the test
  std::string mark_;    // NAME=value in the environment of all processes of the test
};

}  // namespace gallocy::testing
