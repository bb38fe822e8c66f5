// Real nodes under `gallocy launch`: memory budgets, failures, users without rights, encryption, other machines. What
// the programs check when all goes well is run by ctest directly (CMakeLists.txt).
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "fake_hosts.h"
#include "launch_fixture.h"

namespace gallocy::testing {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr milliseconds kAllEnd{10'000};  // bound for what takes less than 2 s on an idle machine

class Nodes : public LaunchFixture {
 protected:
  std::unique_ptr<Process> run(const Arguments& flags, const Arguments& program, Process::Options options = {}) {
    Arguments all{"launch"};
    all.insert(all.end(), flags.begin(), flags.end());
    all.push_back("--");
    all.insert(all.end(), program.begin(), program.end());
    return gallocy(all, std::move(options));
  }
  std::unique_ptr<Process> act(Arguments flags, const Arguments& action) {
    Arguments program{MEMORY_NODE};
    program.insert(program.end(), action.begin(), action.end());
    return run(flags, program);
  }
  static void await_ready(const Process& launcher, unsigned node) {
    const std::string sentence = "node " + std::to_string(node) + " is ready\n";
    ASSERT_TRUE(launcher.await_output(sentence)) << launcher.output() << launcher.error();
  }
  static void kill_node(const Process& launcher, unsigned node, int signal = SIGKILL) {
    const pid_t pid = pid_of(launcher, node);
    ASSERT_GT(pid, 1);
    ::kill(pid, signal);
  }
  // The launcher's only line, after the nodes ended with this status.
  static void expect_line(Process& launcher, int status, const std::string& said, milliseconds bound = kAllEnd) {
    EXPECT_EQ(launcher.wait(bound), status) << launcher.output() << launcher.error();
    EXPECT_THAT(lines_of(launcher.error()), SizeIs(1)) << launcher.error();
    EXPECT_THAT(launcher.error(), HasSubstr(said));
  }
};

// ---------------------------------------------------------------------------------------------- budgets

std::uint64_t total(const nlohmann::json& statistics, const char* counter) {
  std::uint64_t sum = 0;
  for (const auto& node : statistics["nodes"]) sum += node["counters"][counter].get<std::uint64_t>();
  return sum;
}

TEST_F(Nodes, hold_more_than_one_budget_by_evicting_and_spilling) {
  const std::string file = folder_ + "/stats.json";
  auto launcher = act({"-n", "3", "--memory", "16M", "--stats", file}, {"sweep", "40"});
  ASSERT_EQ(launcher->wait(milliseconds(60'000)), 0) << launcher->error();
  const auto statistics = nlohmann::json::parse(std::ifstream(file));
  EXPECT_GT(total(statistics, "evicted"), 0u);
  // No node may end above its budget by more than the eighth that is allowed for faults on their way.
  for (const auto& node : statistics["nodes"]) EXPECT_LE(node["counters"]["resident_bytes"], 18u << 20);
}

TEST_F(Nodes, spill_what_one_of_them_alone_writes) {
  const std::string file = folder_ + "/stats.json";
  auto launcher = act({"-n", "3", "--memory", "16M", "--stats", file}, {"sweep_alone", "40"});
  ASSERT_EQ(launcher->wait(milliseconds(60'000)), 0) << launcher->error();
  EXPECT_GT(total(nlohmann::json::parse(std::ifstream(file)), "spilled"), 0u);
}

TEST_F(Nodes, that_need_more_than_all_have_end_with_one_line) {
  auto launcher = act({"-n", "3", "--memory", "16M"}, {"sweep", "80"});
  EXPECT_EQ(launcher->wait(milliseconds(30'000)), 74) << launcher->error();
  EXPECT_THAT(lines_of(launcher->error()),
              Each(AnyOf(HasSubstr("the cluster's memory is exhausted"), HasSubstr("exited with status 74 without"))))
      << launcher->error();
  EXPECT_THAT(launcher->error(), HasSubstr("raise --memory or add nodes"));
}

TEST_F(Nodes, refuse_settings_that_cannot_be) {
  auto small = act({"-n", "2", "--memory", "1M"}, {"compute"});
  EXPECT_EQ(small->wait(), 64);
  EXPECT_THAT(lines_of(small->error()), Each(HasSubstr("1048576 bytes is too small: at least 4194304")));
  expect_line(*act({"-n", "2", "--fault-engine", "luck"}, {"compute"}), 64, "luck");
  Process::Options options;
  options.environment["GALLOCY_FAULT_ENGINE"] = "luck";
  auto alone = std::make_unique<Process>(std::vector<std::string>{MEMORY_NODE, "compute"}, options);
  EXPECT_EQ(alone->wait(), 64);
  EXPECT_THAT(alone->error(), AllOf(HasSubstr("luck"), HasSubstr("gallocy: ")));
}

TEST_F(Nodes, refuse_regions_that_cannot_be) {
  auto launcher = act({"-n", "2"}, {"sizes"});
  EXPECT_EQ(launcher->wait(), 0) << launcher->error();
  EXPECT_THAT(launcher->output(), HasSubstr("8 TiB"));
  EXPECT_THAT(launcher->output(), HasSubstr("window"));
  auto over = act({"-n", "2"}, {"map", "9000000000000"});
  EXPECT_EQ(over->wait(), 64);
  EXPECT_THAT(over->error(), HasSubstr("8 TiB"));
}

// ---------------------------------------------------------------------------------------------- a node dies

struct Death {
  const char* action;
  unsigned victim;
};

class NodesEnd : public Nodes, public ::testing::WithParamInterface<std::tuple<Death, const char*>> {};

TEST_P(NodesEnd, when_one_is_killed) {
  const auto& [death, transport] = GetParam();
  const std::string victim = std::to_string(death.victim);
  auto launcher = act({"-n", "3", "--transport", transport}, {death.action, victim});
  for (unsigned node = 0; node < 3; ++node) await_ready(*launcher, node);
  kill_node(*launcher, death.victim);
  expect_line(*launcher, 128 + SIGKILL, "was killed by signal 9 (SIGKILL); ended the other 2");
}

INSTANTIATE_TEST_SUITE_P(In, NodesEnd,
                         ::testing::Combine(::testing::Values(Death{"barrier", 1}, Death{"barrier", 0},
                                                              Death{"lock", 2}, Death{"lock", 0}, Death{"fault", 1},
                                                              Death{"fault", 0}, Death{"compute", 2}),
                                            ::testing::Values("tcp", "shm")),
                         [](const auto& given) {
                           const Death& death = std::get<0>(given.param);
                           return std::string(death.action) + "_" + std::to_string(death.victim) + "_" +
                                  std::get<1>(given.param);
                         });

class NodesStopped : public Nodes, public ::testing::WithParamInterface<const char*> {};

TEST_P(NodesStopped, are_lost_after_some_silence) {
  auto launcher = act({"-n", "3", "--transport", GetParam()}, {"fault"});
  for (unsigned node = 0; node < 3; ++node) await_ready(*launcher, node);
  kill_node(*launcher, 1, SIGSTOP);
  const auto before = std::chrono::steady_clock::now();
  expect_line(*launcher, 70, "it has been silent for", milliseconds(60'000));
  EXPECT_GT(std::chrono::steady_clock::now() - before, milliseconds(4'500));
}

INSTANTIATE_TEST_SUITE_P(On, NodesStopped, ::testing::Values("tcp", "shm"),
                         [](const auto& given) { return given.param; });

class NodesContinue : public Nodes, public ::testing::WithParamInterface<unsigned> {
 protected:
  std::unique_ptr<Process> after_death(const std::string& action, const std::string& argument = "0") {
    const unsigned victim = GetParam();
    auto launcher = act({"-n", "3", "--on-peer-lost", "continue"}, {action, std::to_string(victim), argument});
    for (unsigned node = 0; node < 3; ++node) await_ready(*launcher, node);
    kill_node(*launcher, victim);
    launcher->wait(milliseconds(30'000));
    return launcher;
  }
  static void expect_finished(const Process& launcher, unsigned node) {
    EXPECT_THAT(launcher.output(), HasSubstr("node " + std::to_string(node) + " finished\n")) << launcher.error();
  }
};

TEST_P(NodesContinue, with_the_mutex_that_the_dead_held) {
  auto launcher = after_death("robust");
  EXPECT_EQ(launcher->wait(), 0) << launcher->error();
  for (unsigned node = 0; node < 3; ++node) {
    if (node != GetParam()) expect_finished(*launcher, node);
  }
}

TEST_P(NodesContinue, from_waits_for_the_dead) {
  auto launcher = after_death("waits");
  EXPECT_EQ(launcher->wait(), 0) << launcher->error();
  for (unsigned node = 0; node < 3; ++node) {
    if (node != GetParam()) expect_finished(*launcher, node);
  }
}

TEST_P(NodesContinue, with_mapping_and_locking) {
  auto launcher = after_death("mapping");
  EXPECT_EQ(launcher->wait(), 0) << launcher->error();
  for (unsigned node = 0; node < 3; ++node) {
    if (node != GetParam()) expect_finished(*launcher, node);
  }
}

// The machine of a node sleeps for longer than the others wait, and wakes up. Its own last words may be missing: the
// launcher ends it too. What counts is that it is gone, and that it split nothing before.
TEST_P(NodesContinue, and_end_one_that_they_took_for_dead) {
  const unsigned victim = GetParam();
  auto launcher = act({"-n", "3", "--on-peer-lost", "continue"}, {"outlive", std::to_string(victim)});
  for (unsigned node = 0; node < 3; ++node) await_ready(*launcher, node);
  kill_node(*launcher, victim, SIGSTOP);
  for (unsigned node = 0; node < 3; ++node) {
    if (node == victim) continue;
    ASSERT_TRUE(launcher->await_output("node " + std::to_string(node) + " mapped without it\n", milliseconds(60'000)))
        << launcher->output() << launcher->error();
  }
  kill_node(*launcher, victim, SIGCONT);
  EXPECT_EQ(launcher->wait(milliseconds(60'000)), 0) << launcher->error();
  for (unsigned node = 0; node < 3; ++node) {
    if (node != victim) expect_finished(*launcher, node);
  }
}

// Two of three die at once: the third cannot know whether they do.
TEST_F(Nodes, without_a_majority_end) {
  auto launcher = act({"-n", "3", "--on-peer-lost", "continue"}, {"compute", "0"});
  for (unsigned node = 0; node < 3; ++node) await_ready(*launcher, node);
  const pid_t last = pid_of(*launcher, 2);
  ::kill(last, SIGSTOP);
  kill_node(*launcher, 0);
  kill_node(*launcher, 1);
  ::kill(last, SIGCONT);
  // The status is that of the end that the launcher hears of last.
  EXPECT_THAT(launcher->wait(milliseconds(60'000)), AnyOf(70, 128 + SIGKILL)) << launcher->error();
  EXPECT_THAT(launcher->error(),
              AllOf(HasSubstr("gallocy: node 2: of the nodes 0, 1, 2, which keep the cluster's log, only 1"),
                    HasSubstr("pid " + std::to_string(last) + ") exited with status 70")));
}

TEST_P(NodesContinue, unless_they_touch_what_died_with_it) {
  const unsigned toucher = (GetParam() + 1) % 3, other = (GetParam() + 2) % 3;
  auto launcher = after_death("lost", std::to_string(toucher));
  EXPECT_THAT(launcher->error(), HasSubstr("of region \"precious\" is lost: the only copy was on node "));
  EXPECT_THAT(launcher->error(), HasSubstr("gallocy: node " + std::to_string(toucher) + ": page 0x"));
  expect_finished(*launcher, other);
}

INSTANTIATE_TEST_SUITE_P(Without, NodesContinue, ::testing::Values(0u, 1u, 2u),
                         [](const auto& given) { return "node_" + std::to_string(given.param); });

// ---------------------------------------------------------------------------------------------- mistakes with the heap

class HeapMistake : public Nodes, public ::testing::WithParamInterface<const char*> {};

TEST_P(HeapMistake, is_named_with_pointer_and_owner) {
  const std::string what = GetParam();
  auto launcher = act({"-n", "2"}, {"free", what});
  EXPECT_EQ(launcher->wait(), 64) << launcher->output() << launcher->error();
  std::vector<std::string> said;
  for (const auto& line : messages(*launcher)) {
    if (line.find("0x") != std::string::npos) said.push_back(line);
  }
  ASSERT_THAT(said, SizeIs(1)) << launcher->error();
  if (what == "private" || what == "region") return;
  const std::string output = launcher->output();
  std::size_t at = output.rfind("pointer 0x");
  ASSERT_NE(at, std::string::npos);
  auto pointer = std::stoull(output.substr(at + 8), nullptr, 16);
  if (what == "inner") pointer += 16;
  char text[32];
  std::snprintf(text, sizeof text, "%#llx", pointer);
  EXPECT_THAT(said[0], HasSubstr(text));
  EXPECT_THAT(said[0], HasSubstr(what == "twice_here" ? "node 1" : "node 0"));
}

INSTANTIATE_TEST_SUITE_P(Of, HeapMistake, ::testing::Values("twice_here", "twice_remote", "inner", "private", "region"),
                         [](const auto& given) { return given.param; });

// ---------------------------------------------------------------------------------------------- surroundings

// As the user nobody, with copies of the programs where that user can reach them. No privileged userfaultfd then.
TEST_F(Nodes, need_no_privileges) {
  if (::geteuid() != 0) GTEST_SKIP() << "running as another user needs root";
  constexpr unsigned kNobody = 65534;
  ::chmod(folder_.c_str(), 0755);
  for (const char* program : {GALLOCY_COMMAND, RANDOM_ACCESS, LITMUS}) {
    std::filesystem::copy(program, folder_);
  }
  ASSERT_EQ(::chown((folder_ + "/run").c_str(), kNobody, kNobody), 0);
  Process::Options options;
  options.user = kNobody;
  options.environment = {{"XDG_RUNTIME_DIR", folder_ + "/run"}, {mark_.substr(0, mark_.find('=')), folder_}};
  const auto copy = [&](const char* program) { return folder_ / std::filesystem::path(program).filename(); };
  for (const char* transport : {"tcp", "shm"}) {
    for (const char* program : {RANDOM_ACCESS, LITMUS}) {
      Process launcher({copy(GALLOCY_COMMAND), "launch", "-n", "3", "--directory", "/", "--transport", transport, "--",
                        copy(program), "20"},
                       options);
      EXPECT_EQ(launcher.wait(), 0) << launcher.error();
      EXPECT_THAT(launcher.error(), IsEmpty());
    }
  }
}

// Several machines: encrypted, as between machines by default.
TEST_F(Nodes, on_several_hosts_share_memory_over_encrypted_links) {
  FakeHosts hosts(3);
  if (!hosts.made()) GTEST_SKIP() << "making network namespaces needs root";
  Process::Options options;
  options.environment = {{"XDG_RUNTIME_DIR", folder_ + "/run"}, {mark_.substr(0, mark_.find('=')), folder_}};
  for (const Arguments& program :
       {Arguments{RANDOM_ACCESS, "1000"}, Arguments{LITMUS, "20"}, Arguments{RING_STRESS, "100"}}) {
    Arguments all{"ip",     "netns",   "exec",       hosts.hub(), GALLOCY_COMMAND,
                  "launch", "--hosts", hosts.list(), "--launch",  "ip netns exec {host} {command}",
                  "--"};
    all.insert(all.end(), program.begin(), program.end());
    Process launcher(all, options);
    EXPECT_EQ(launcher.wait(), 0) << launcher.error();
    EXPECT_THAT(launcher.error(), IsEmpty());
  }
}

}  // namespace
}  // namespace gallocy::testing
