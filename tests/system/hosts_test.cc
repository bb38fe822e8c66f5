// `gallocy launch --hosts`: agents on other machines, which are network namespaces here.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "fake_hosts.h"
#include "launch_fixture.h"

namespace gallocy::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class Hosts : public LaunchFixture {
 protected:
  void SetUp() override {
    LaunchFixture::SetUp();
    if (!hosts_.made()) GTEST_SKIP() << "making network namespaces needs root";
  }
  // From the hub, on all hosts.
  std::unique_ptr<Process> launch_on_hosts(const Arguments& flags, const Arguments& actions,
                                           Process::Options options = {}) {
    Arguments all{"ip",     "netns",   "exec",        hosts_.hub(), GALLOCY_COMMAND,
                  "launch", "--hosts", hosts_.list(), "--launch",   "ip netns exec {host} {command}"};
    all.insert(all.end(), flags.begin(), flags.end());
    all.insert(all.end(), {"--", SCRIPT_NODE});
    all.insert(all.end(), actions.begin(), actions.end());
    options.environment.emplace("XDG_RUNTIME_DIR", folder_ + "/run");
    options.environment.emplace(mark_.substr(0, mark_.find('=')), folder_);
    return std::make_unique<Process>(all, options);
  }
  FakeHosts hosts_{3};
};

TEST_F(Hosts, nodes_meet_at_addresses_that_all_can_reach) {
  auto launcher = launch_on_hosts({}, {"join", "leave"});
  EXPECT_EQ(launcher->wait(), 0) << launcher->error();
  const std::string all = " knows 10.77.0.2:1000 10.77.0.3:1001 10.77.0.4:1002";
  EXPECT_THAT(lines_of(launcher->output()), UnorderedElementsAre("node 0" + all, "node 1" + all, "node 2" + all));
  EXPECT_THAT(launcher->error(), IsEmpty());
}

TEST_F(Hosts, several_nodes_per_host_with_encryption_by_default) {
  auto launcher = launch_on_hosts({"-n", "7"}, {"environment", "join", "leave"});
  EXPECT_EQ(launcher->wait(), 0) << launcher->error();
  const auto lines = lines_of(launcher->output());
  const auto count = [&](const std::string& line) { return std::count(lines.begin(), lines.end(), line); };
  EXPECT_EQ(count("GALLOCY_LOCAL_NODES=3"), 3);
  EXPECT_EQ(count("GALLOCY_LOCAL_NODES=2"), 4);
  EXPECT_EQ(count("GALLOCY_ENCRYPT=1"), 7);
  EXPECT_EQ(count("GALLOCY_TRANSPORT=tcp"), 7);
  auto open = launch_on_hosts({"--insecure-network"}, {"0:environment"});
  EXPECT_EQ(open->wait(), 0);
  EXPECT_THAT(open->output(), HasSubstr("GALLOCY_ENCRYPT=0\n"));
}

TEST_F(Hosts, no_secret_in_command_lines_or_environments) {
  auto launcher = launch_on_hosts({}, {"join", "pid", "wait"});
  for (unsigned node = 0; node < 3; ++node) ASSERT_GT(pid_of(*launcher, node), 0);
  const auto processes = processes_with(mark_);
  EXPECT_GE(processes.size(), 7u) << "launcher, 3 agents, 3 nodes";
  for (const pid_t pid : processes) {
    for (const char* part : {"cmdline", "environ"}) {
      std::ifstream file("/proc/" + std::to_string(pid) + "/" + part);
      const std::string text{std::istreambuf_iterator<char>(file), {}};
      EXPECT_THAT(text, ::testing::Not(::testing::ContainsRegex("[0-9a-f]{64}")));
    }
  }
  launcher->signal(SIGTERM);
  EXPECT_EQ(launcher->wait(), 128 + SIGTERM);
}

TEST_F(Hosts, input_output_and_statuses_travel) {
  Process::Options options;
  for (int i = 0; i < 50'000; ++i) options.input += "line " + std::to_string(i) + "\n";
  auto launcher = launch_on_hosts({}, {"0:cat", "1:error=from 1", "2:exit=9"}, options);
  EXPECT_EQ(launcher->wait(), 9);
  EXPECT_EQ(launcher->output(), options.input);
  EXPECT_EQ(launcher->error(), "from 1\n");
}

TEST_F(Hosts, a_killed_node_ends_the_rest_with_one_message) {
  auto launcher = launch_on_hosts({"-n", "6"}, {"join", "pid", "wait"});
  for (unsigned node = 0; node < 6; ++node) ASSERT_GT(pid_of(*launcher, node), 0);
  const auto before = std::chrono::steady_clock::now();
  ::kill(pid_of(*launcher, 4), SIGKILL);
  EXPECT_EQ(launcher->wait(), 128 + SIGKILL);
  EXPECT_LT(std::chrono::steady_clock::now() - before, milliseconds(2'000));
  ASSERT_THAT(lines_of(launcher->error()), SizeIs(1)) << launcher->error();
  EXPECT_THAT(launcher->error(), HasSubstr("node 4 (" + hosts_.name(2) + ", pid "));
  EXPECT_THAT(launcher->error(), HasSubstr("was killed by signal 9 (SIGKILL); ended the other 5"));
}

TEST_F(Hosts, the_launchers_death_ends_everything) {
  auto launcher = launch_on_hosts({"-n", "6"}, {"join", "pid", "wait"});
  for (unsigned node = 0; node < 6; ++node) ASSERT_GT(pid_of(*launcher, node), 0);
  launcher->signal(SIGKILL);
  EXPECT_EQ(launcher->wait(), 128 + SIGKILL);
  EXPECT_TRUE(eventually([&] { return processes_with(mark_).empty(); }, milliseconds(2'000)));
}

TEST_F(Hosts, an_agents_death_ends_everything) {
  auto launcher = launch_on_hosts({}, {"join", "pid", "wait"});
  for (unsigned node = 0; node < 3; ++node) ASSERT_GT(pid_of(*launcher, node), 0);
  const auto parent_of = [](pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/status");
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with("PPid:")) return std::stoi(line.substr(5));
    }
    return -1;
  };
  const pid_t agent = parent_of(pid_of(*launcher, 1));
  ASSERT_GT(agent, 1);
  ASSERT_NE(agent, launcher->pid());
  ::kill(agent, SIGKILL);
  EXPECT_EQ(launcher->wait(), 70);
  ASSERT_THAT(lines_of(launcher->error()), SizeIs(1)) << launcher->error();
  EXPECT_THAT(launcher->error(), HasSubstr(hosts_.name(1)));
}

TEST_F(Hosts, a_cable_that_is_pulled_ends_everything_within_a_bound) {
  auto launcher = launch_on_hosts({}, {"join", "pid", "wait"});
  for (unsigned node = 0; node < 3; ++node) ASSERT_GT(pid_of(*launcher, node), 0);
  hosts_.set_link(1, "down");
  EXPECT_EQ(launcher->wait(milliseconds(10'000)), 70);
  ASSERT_THAT(lines_of(launcher->error()), SizeIs(1)) << launcher->error();
  EXPECT_THAT(launcher->error(), HasSubstr("node 1 (" + hosts_.name(1)));
}

TEST_F(Hosts, a_program_that_is_missing_there) {
  auto launcher = gallocy(
      {"launch", "--hosts", "a", "--launch", "echo welcome; exec {command} # {host}", "--", "/nonesuch/program"});
  EXPECT_EQ(launcher->wait(), 127);
  EXPECT_EQ(launcher->error(), "gallocy: program not found: /nonesuch/program (on host a)\n");
}

class Unreachable : public LaunchFixture {};

TEST_F(Unreachable, the_host_and_the_complaint_are_named_in_one_line) {
  auto launcher = gallocy({"launch", "--hosts", "near,far", "--launch",
                           "if [ {host} = far ]; then echo 'no route to {host}' >&2; exit 255; else exec {command}; fi",
                           "--", "sleep", "100"});
  EXPECT_EQ(launcher->wait(), 68);
  ASSERT_THAT(lines_of(launcher->error()), SizeIs(1)) << launcher->error();
  EXPECT_THAT(launcher->error(), HasSubstr("cannot reach host far: no route to far"));
  EXPECT_LT(launcher->lifetime(), milliseconds(3'000));
}

TEST_F(Unreachable, silence_is_bounded) {
  auto launcher = gallocy({"launch", "--hosts", "deaf", "--connect-timeout", "1", "--launch",
                           "sleep 100 # {host} {command}", "--", "true"});
  EXPECT_EQ(launcher->wait(milliseconds(5'000)), 68);
  ASSERT_THAT(lines_of(launcher->error()), SizeIs(1)) << launcher->error();
  EXPECT_THAT(launcher->error(), HasSubstr("cannot reach host deaf: no answer within 1 s"));
}

TEST_F(Unreachable, ssh_says_why) {
  auto launcher = gallocy({"launch", "--hosts", "nonesuch.invalid", "--connect-timeout", "5", "--", "true"});
  EXPECT_EQ(launcher->wait(), 68);
  ASSERT_THAT(lines_of(launcher->error()), SizeIs(1)) << launcher->error();
  EXPECT_THAT(launcher->error(), HasSubstr("cannot reach host nonesuch.invalid: "));
}

// srun is a script here that looks at its flags as srun does.
TEST_F(Unreachable, inside_slurm_hosts_come_from_the_job) {
  const auto srun = folder_ + "/srun";
  std::ofstream(srun)
      << "#!/bin/sh\n"
         "while case $1 in --nodelist=*) host=${1#*=}; true;; --*) true;; *) false;; esac; do shift; done\n"
         "echo \"srun on $host\" >>" +
             folder_ +
             "/log\n"
             "exec \"$@\"\n";
  ::chmod(srun.c_str(), 0700);
  Process::Options options;
  options.environment = {
      {"SLURM_JOB_ID", "7"}, {"SLURM_JOB_NODELIST", "n[1-2]"}, {"PATH", folder_ + ":" + std::getenv("PATH")}};
  auto launcher = launch({"-n", "4", "--address", "127.0.0.1"}, {"join", "leave"}, options);
  EXPECT_EQ(launcher->wait(), 0) << launcher->error();
  EXPECT_THAT(lines_of(launcher->output()), SizeIs(4));
  std::ifstream file(folder_ + "/log");
  const std::string log{std::istreambuf_iterator<char>(file), {}};
  EXPECT_THAT(lines_of(log), UnorderedElementsAre("srun on n1", "srun on n2"));
}

}  // namespace
}  // namespace gallocy::testing
