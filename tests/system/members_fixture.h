// A cluster that lives on, for tests: `gallocy node`s and programs, on this machine or on several (FakeHosts).
#pragma once

#include <sys/stat.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "fake_hosts.h"
#include "launch_fixture.h"

namespace gallocy::testing {

// Bounds for what takes well under a second on an idle machine.
inline constexpr milliseconds kSoon{60'000};

class MembersFixture : public LaunchFixture {
 protected:
  MembersFixture() { secret_ = write_secret("secret", "the secret of this cluster\n", 0600); }

  std::string write_secret(const std::string& name, const std::string& text, mode_t mode) {
    const std::string path = folder_ + "/" + name;
    std::ofstream(path) << text;
    ::chmod(path.c_str(), mode);
    return path;
  }

  // On one host of several, if there are any.
  std::unique_ptr<Process> tool(Arguments arguments, int host = -1) {
    return start(GALLOCY_COMMAND, std::move(arguments), host);
  }
  std::unique_ptr<Process> start(const char* program, Arguments arguments, int host = -1) {
    Process::Options options;
    options.environment.emplace("GALLOCY_SECRET_FILE", secret_);
    options.environment.emplace("GALLOCY_JOIN", contact_);
    options.environment.emplace("GALLOCY_MEMORY", memory_);
    options.environment.emplace(mark_.substr(0, mark_.find('=')), folder_);
    arguments.insert(arguments.begin(), program);
    if (hosts_ != nullptr) {
      const Arguments inside{"ip", "netns", "exec",
                             host < 0 ? hosts_->hub() : hosts_->name(static_cast<unsigned>(host))};
      arguments.insert(arguments.begin(), inside.begin(), inside.end());
    }
    return std::make_unique<Process>(arguments, options);
  }
  std::unique_ptr<Process> tenant(Arguments actions, int host = -1) { return start(TENANT, std::move(actions), host); }

  // The address that the node printed.
  static std::string address_of(const Process& node) {
    EXPECT_TRUE(node.await_output("cluster", kSoon)) << node.output() << node.error();
    const std::string said = node.output();
    const auto at = said.find(" at ");
    return at == std::string::npos ? "" : said.substr(at + 4, said.find(": ", at) - at - 4);
  }
  // Founds the cluster, or joins it.
  Process& add_node(Arguments more = {}, int host = -1) {
    Arguments arguments{"node", "--memory", memory_};
    if (contact_.empty()) arguments.insert(arguments.end(), {"--listen", listen_});
    arguments.insert(arguments.end(), more.begin(), more.end());
    nodes_.push_back(tool(arguments, host));
    addresses_.push_back(address_of(*nodes_.back()));
    if (contact_.empty()) contact_ = addresses_.back();
    return *nodes_.back();
  }
  void found(unsigned count) {
    for (unsigned i = 0; i < count; ++i) add_node();
  }
  // Each ends in order, the first last.
  void end_all() {
    for (; !nodes_.empty(); nodes_.pop_back()) {
      nodes_.back()->signal(SIGTERM);
      EXPECT_EQ(nodes_.back()->wait(kSoon), 0) << nodes_.back()->output() << nodes_.back()->error();
    }
  }
  static void expect_done(Process& process) {
    EXPECT_EQ(process.wait(kSoon), 0) << process.output() << process.error();
    EXPECT_THAT(process.error(), ::testing::Not(::testing::HasSubstr("left_in_disorder")));
  }
  void TearDown() override {
    for (std::size_t i = 0; HasFailure() && i < nodes_.size(); ++i)
      std::fprintf(stderr, "%s", nodes_[i]->error().c_str());
    LaunchFixture::TearDown();
  }
  nlohmann::json status() {
    const auto asked = tool({"status", "--json"});
    EXPECT_EQ(asked->wait(kSoon), 0) << asked->error();
    return nlohmann::json::parse(asked->output(), nullptr, false);
  }

  std::string secret_, contact_, memory_ = "256M", listen_ = "127.0.0.1:0";
  std::unique_ptr<FakeHosts> hosts_;
  std::vector<std::unique_ptr<Process>> nodes_;
  std::vector<std::string> addresses_;
};

}  // namespace gallocy::testing
