// `gallocy stat` and `gallocy doctor`.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "launch_fixture.h"

namespace gallocy::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class Stat : public LaunchFixture {
 protected:
  std::string stat(const Arguments& flags = {}) {
    Arguments arguments{"stat"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    auto process = gallocy(arguments);
    EXPECT_EQ(process->wait(), 0) << process->error();
    return process->output();
  }
};

TEST_F(Stat, of_a_running_cluster_is_fresh) {
  auto launcher = launch({"-n", "2"}, {"join", "statistics={\"counters\": {\"read_faults\": 1%n0}}", "pid", "wait"});
  for (unsigned node = 0; node < 2; ++node) ASSERT_GT(pid_of(*launcher, node), 0);
  const auto text = stat();
  EXPECT_THAT(text, HasSubstr("running"));
  EXPECT_THAT(text, ContainsRegex("read faults +100 +110 +210"));
  EXPECT_THAT(stat({"--list"}), HasSubstr("running"));
  launcher->signal(SIGTERM);
  launcher->wait();
}

TEST_F(Stat, of_a_stopped_node_shows_the_others) {
  auto launcher = launch({"-n", "2"}, {"join", "statistics={\"counters\": {\"read_faults\": 1%n0}}", "pid", "wait"});
  for (unsigned node = 0; node < 2; ++node) ASSERT_GT(pid_of(*launcher, node), 0);
  ::kill(pid_of(*launcher, 1), SIGSTOP);
  EXPECT_THAT(stat(), ContainsRegex("read faults +100 +110 +210")) << "the last that node 1 told";
  launcher->signal(SIGTERM);
  EXPECT_EQ(launcher->wait(), 128 + SIGTERM);
}

TEST_F(Stat, of_a_finished_run_is_its_last_word) {
  EXPECT_EQ(launch({"-n", "3"}, {"join", "statistics={\"counters\": {\"barriers\": 7}}", "leave", "2:exit=5"})->wait(),
            5);
  const auto record = nlohmann::json::parse(stat({"--json"}));
  EXPECT_EQ(record["exit_status"], 5);
  ASSERT_THAT(record["nodes"], SizeIs(3));
  for (const auto& node : record["nodes"]) EXPECT_EQ(node["counters"]["barriers"], 7);
  EXPECT_EQ(record["nodes"][2]["state"], "exited with status 5");
  EXPECT_THAT(stat({record["run"].get<std::string>()}), HasSubstr("exit status 5"));
  EXPECT_THAT(stat({"--watch"}), HasSubstr("exit status 5")) << "ends, as the run has";
}

TEST_F(Stat, old_runs_are_forgotten) {
  for (int run = 0; run < 23; ++run) ASSERT_EQ(gallocy({"launch", "--", "true"})->wait(), 0);
  EXPECT_THAT(lines_of(stat({"--list"})), SizeIs(20));
}

TEST_F(Stat, a_killed_launcher_leaves_nothing_that_misleads) {
  EXPECT_EQ(launch({}, {"print=first"})->wait(), 0);
  auto killed = launch({"-n", "1"}, {"join", "pid", "wait"});
  ASSERT_GT(pid_of(*killed, 0), 0);
  killed->signal(SIGKILL);
  killed->wait();
  EXPECT_THAT(stat(), HasSubstr("print=first"));
}

TEST_F(Stat, of_broken_files_is_no_crash) {
  std::filesystem::create_directory(folder_ + "/run/gallocy");
  std::filesystem::permissions(folder_ + "/run/gallocy", std::filesystem::perms::owner_all);
  std::ofstream(folder_ + "/run/gallocy/broken.json") << "{\"nodes\": 7, \"run\": [], \"exit_status\": \"x\"}";
  auto process = gallocy({"stat", "broken"});
  EXPECT_EQ(process->wait(), 76);
  EXPECT_THAT(lines_of(process->error()), SizeIs(1));
  std::filesystem::permissions(folder_ + "/run/gallocy", std::filesystem::perms::all);
  auto open = gallocy({"stat"});
  EXPECT_EQ(open->wait(), 77);
}

TEST_F(Stat, goes_to_a_file_when_asked) {
  const auto file = folder_ + "/stats.json";
  EXPECT_EQ(launch({"-n", "2", "--stats", file}, {"join", "statistics={\"counters\": {\"a\": 1}}", "leave"})->wait(),
            0);
  std::ifstream stream(file);
  EXPECT_EQ(nlohmann::json::parse(stream)["nodes"][1]["counters"]["a"], 1);
}

class Doctor : public LaunchFixture {};

TEST_F(Doctor, says_what_there_is) {
  auto doctor = gallocy({"doctor"});
  const int status = doctor->wait();
  EXPECT_TRUE(status == 0 || status == 69) << status;
  for (const char* word : {"uffd-sigbus", "uffd-thread", "sigsegv", "shm", "tcp", "memory", "cores", "gallocy run",
                           "syscall user dispatch", "fsgsbase"}) {
    EXPECT_THAT(doctor->output(), HasSubstr(word));
  }
  EXPECT_THAT(doctor->error(), ::testing::IsEmpty());
}

TEST_F(Doctor, json_agrees_with_the_status) {
  auto doctor = gallocy({"doctor", "--json"});
  const int status = doctor->wait();
  const auto found = nlohmann::json::parse(doctor->output());
  EXPECT_EQ(status == 0, found["usable"].get<bool>());
  EXPECT_THAT(found["process_mode"], ::testing::Not(::testing::IsEmpty()));
  ASSERT_THAT(found["fault_engines"], SizeIs(3));
  for (const auto& engine : found["fault_engines"]) {
    EXPECT_EQ(engine["available"].get<bool>(), engine["fault_us"].get<double>() > 0) << engine;
  }
}

TEST_F(Doctor, serves_users_without_privilege) {
  if (::geteuid() != 0) GTEST_SKIP() << "becoming nobody needs root";
  Process::Options options;
  options.user = 65534;
  auto doctor = gallocy({"doctor", "--json"}, options);
  if (doctor->wait() == 125) GTEST_SKIP() << "the build folder is closed to other users";
  const auto found = nlohmann::json::parse(doctor->output());
  const auto& engines = found["fault_engines"];
  const auto sigsegv =
      std::find_if(engines.begin(), engines.end(), [](const auto& e) { return e["name"] == "sigsegv"; });
  ASSERT_NE(sigsegv, engines.end());
  EXPECT_TRUE((*sigsegv)["available"].get<bool>()) << "it needs no privilege";
}

}  // namespace
}  // namespace gallocy::testing
