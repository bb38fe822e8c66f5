// `gallocy run` over hosts that have nothing but gallocy. The home is in the namespace "hub".
#pragma once

#include <filesystem>

#include "fake_hosts.h"
#include "launch_fixture.h"

namespace gallocy::testing {

class BareHosts : public LaunchFixture {
 protected:
  explicit BareHosts(unsigned count) : hosts_(count) {}

  void SetUp() override {
    LaunchFixture::SetUp();
    if (!hosts_.made()) GTEST_SKIP() << "making network namespaces needs root";
    if (!GALLOCY_IS_ONE_PIECE) GTEST_SKIP() << "gallocy is linked with shared libraries here";
    std::filesystem::create_directory(folder_ + "/root");
  }

  // On this machine's home and `count` hosts.
  std::unique_ptr<Process> run_on_hosts(unsigned count, const Arguments& program, Process::Options options = {}) {
    const std::string how = "ip netns exec {host} " + namespaces_ + " " + BARE_HOST + " " + folder_ + "/root " +
                            GALLOCY_COMMAND + " {command}";
    Arguments all{"ip",
                  "netns",
                  "exec",
                  hosts_.hub(),
                  GALLOCY_COMMAND,
                  "run",
                  "--hosts",
                  hosts_.list(count),
                  "--remote-command",
                  "/gallocy",
                  "--launch",
                  how};
    all.insert(all.end(), flags_.begin(), flags_.end());
    all.emplace_back("--");
    all.insert(all.end(), program.begin(), program.end());
    options.environment.emplace("XDG_RUNTIME_DIR", folder_ + "/run");
    options.environment.emplace(mark_.substr(0, mark_.find('=')), folder_);
    return std::make_unique<Process>(all, options);
  }

  FakeHosts hosts_;
  Arguments flags_;  // more of them
  std::string namespaces_ = "unshare -m";
};

}  // namespace gallocy::testing
