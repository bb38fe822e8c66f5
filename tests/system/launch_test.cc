// `gallocy launch` on one machine: meeting, output, input, signals, exit statuses, and what ends the rest.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <map>

#include "launch_fixture.h"

namespace gallocy::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class Launch : public LaunchFixture {};

TEST_F(Launch, nodes_meet_and_leave) {
  auto launcher = launch({"-n", "4"}, {"join", "leave"});
  EXPECT_EQ(launcher->wait(), 0) << launcher->error();
  const std::string all = " knows 127.0.0.1:1000 127.0.0.1:1001 127.0.0.1:1002 127.0.0.1:1003";
  EXPECT_THAT(lines_of(launcher->output()),
              UnorderedElementsAre("node 0" + all, "node 1" + all, "node 2" + all, "node 3" + all));
  EXPECT_THAT(launcher->error(), IsEmpty());
}

TEST_F(Launch, a_program_that_is_not_of_the_library_runs_too) {
  auto launcher = gallocy({"launch", "-n", "3", "--", "echo", "hello"});
  EXPECT_EQ(launcher->wait(), 0);
  EXPECT_EQ(launcher->output(), "hello\nhello\nhello\n");
}

TEST_F(Launch, instances_get_their_settings_and_no_secret_in_the_open) {
  auto launcher = launch({"-n", "2", "--transport", "tcp", "--memory", "512M", "--fault-engine", "sigsegv",
                          "--on-peer-lost", "continue", "--join-timeout", "9"},
                         {"1:environment"});
  EXPECT_EQ(launcher->wait(), 0);
  const auto text = launcher->output();
  for (const char* entry :
       {"GALLOCY_NODE=1", "GALLOCY_NODES=2", "GALLOCY_LOCAL_NODES=2", "GALLOCY_LOCAL_INDEX=1", "GALLOCY_TRANSPORT=tcp",
        "GALLOCY_ENCRYPT=0", "GALLOCY_LISTEN_HOST=127.0.0.1", "GALLOCY_MEMORY=536870912",
        "GALLOCY_FAULT_ENGINE=sigsegv", "GALLOCY_ON_PEER_LOST=continue", "GALLOCY_JOIN_TIMEOUT=9"}) {
    EXPECT_THAT(text, HasSubstr(std::string(entry) + "\n"));
  }
  EXPECT_THAT(text, ::testing::Not(::testing::ContainsRegex("[0-9a-f]{64}"))) << "a secret is in the environment";
}

TEST_F(Launch, output_lines_stay_whole_and_in_order) {
  constexpr int kLines = 20'000;
  auto launcher = launch({"-n", "4", "--prefix"}, {"lines=" + std::to_string(kLines)});
  EXPECT_EQ(launcher->wait(), 0);
  std::map<int, int> next;
  for (const auto& line : lines_of(launcher->output())) {
    int prefix = -1, node = -1, number = -1;
    ASSERT_EQ(std::sscanf(line.c_str(), "[%d] node %d line %d", &prefix, &node, &number), 3) << line;
    ASSERT_EQ(prefix, node);
    ASSERT_EQ(number, next[node]++);
  }
  EXPECT_THAT(next,
              ElementsAre(std::pair(0, kLines), std::pair(1, kLines), std::pair(2, kLines), std::pair(3, kLines)));
}

TEST_F(Launch, output_and_error_stay_apart) {
  auto launcher = launch({"-n", "2"}, {"print=out %n", "error=err %n"});
  EXPECT_EQ(launcher->wait(), 0);
  EXPECT_THAT(lines_of(launcher->output()), UnorderedElementsAre("out 0", "out 1"));
  EXPECT_THAT(lines_of(launcher->error()), UnorderedElementsAre("err 0", "err 1"));
}

TEST_F(Launch, a_last_line_without_an_end_is_shown) {
  auto launcher = launch({"-n", "2"}, {"raw=100000"});
  EXPECT_EQ(launcher->wait(), 0);
  EXPECT_THAT(lines_of(launcher->output()), ElementsAre(std::string(100'000, 'x'), std::string(100'000, 'x')));
}

TEST_F(Launch, only_node_0_has_the_input) {
  Process::Options options;
  options.input = "first\nsecond\n";
  auto launcher = launch({"-n", "3", "--prefix"}, {"cat", "print=end"}, options);
  EXPECT_EQ(launcher->wait(), 0);
  EXPECT_THAT(lines_of(launcher->output()),
              UnorderedElementsAre("[0] first", "[0] second", "[0] end", "[1] end", "[2] end"));
}

// The reader takes nothing: nodes must block, the launcher's memory must not grow, and ending must still work.
TEST_F(Launch, a_reader_that_stops_holds_the_nodes_and_not_the_launcher) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  Process::Options options;
  options.output = ends[1];
  auto launcher = launch({"-n", "2"}, {"0:error=begun", "lines=10000000"}, options);
  ::close(ends[1]);
  ASSERT_TRUE(eventually([&] { return launcher->error().find("begun") != std::string::npos; }));
  const auto resident_kib = [&] {
    std::ifstream file("/proc/" + std::to_string(launcher->pid()) + "/status");
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with("VmRSS:")) return std::stol(line.substr(6));
    }
    return 0L;
  };
  // 20 million lines are 400 MB; the queue, the pipes and the program itself are below 40.
  for (int i = 0; i < 100; ++i) {
    ASSERT_LT(resident_kib(), 40'000);
    ::usleep(5'000);
  }
  launcher->signal(SIGTERM);
  // What was queued still goes to the reader, as with a pipe of any program.
  std::size_t received = 0;
  char buffer[64 << 10];
  for (ssize_t got; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;) received += static_cast<std::size_t>(got);
  ::close(ends[0]);
  EXPECT_EQ(launcher->wait(), 128 + SIGTERM);
  EXPECT_LT(received, 8u << 20);
}

TEST_F(Launch, a_reader_that_goes_ends_the_run) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  Process::Options options;
  options.output = ends[1];
  auto launcher = launch({"-n", "2"}, {"lines=10000000"}, options);
  ::close(ends[1]);
  ::close(ends[0]);
  EXPECT_EQ(launcher->wait(), 128 + SIGPIPE);
  EXPECT_THAT(launcher->error(), IsEmpty());
}

TEST_F(Launch, exit_status_is_that_of_the_first_failure) {
  EXPECT_EQ(launch({"-n", "3"}, {"1:exit=5"})->wait(), 5);
  auto quiet = launch({"-n", "3"}, {"join", "leave", "2:exit=9"});
  EXPECT_EQ(quiet->wait(), 9);
  EXPECT_THAT(quiet->error(), IsEmpty()) << "it left before, and speaks for itself";
}

TEST_F(Launch, a_killed_node_ends_the_rest_with_one_message) {
  auto launcher = launch({"-n", "4"}, {"join", "pid", "wait"});
  for (unsigned node = 0; node < 4; ++node) ASSERT_GT(pid_of(*launcher, node), 0);
  const pid_t victim = pid_of(*launcher, 2);
  const auto before = std::chrono::steady_clock::now();
  ::kill(victim, SIGKILL);
  EXPECT_EQ(launcher->wait(), 128 + SIGKILL);
  EXPECT_LT(std::chrono::steady_clock::now() - before, milliseconds(2'000));
  ASSERT_THAT(lines_of(launcher->error()), SizeIs(1)) << launcher->error();
  EXPECT_THAT(launcher->error(), MatchesRegex("gallocy: node 2 \\(.+, pid " + std::to_string(victim) +
                                              "\\) was killed by signal 9 \\(SIGKILL\\); ended the other 3\n"));
}

TEST_F(Launch, ending_reaches_nodes_that_ignore_it_are_stopped_or_have_children) {
  auto launcher = launch({"-n", "4"}, {"join", "1:ignore=15", "3:children=3", "pid", "wait"});
  for (unsigned node = 0; node < 4; ++node) ASSERT_GT(pid_of(*launcher, node), 0);
  ::kill(pid_of(*launcher, 0), SIGSTOP);
  const auto before = std::chrono::steady_clock::now();
  // Not SIGSEGV, of which the sanitizers make a report and an exit.
  ::kill(pid_of(*launcher, 2), SIGABRT);
  EXPECT_EQ(launcher->wait(), 128 + SIGABRT);
  EXPECT_LT(std::chrono::steady_clock::now() - before, milliseconds(2'000));
  EXPECT_THAT(lines_of(launcher->error()), SizeIs(1)) << launcher->error();
}

TEST_F(Launch, exit_without_leaving_ends_the_rest) {
  auto launcher = launch({"-n", "3"}, {"join", "1:exit=0", "wait"});
  EXPECT_EQ(launcher->wait(), 70);
  ASSERT_THAT(lines_of(launcher->error()), SizeIs(1));
  EXPECT_THAT(launcher->error(), HasSubstr("node 1"));
  EXPECT_THAT(launcher->error(), HasSubstr("exited with status 0 without leaving the cluster; ended the other 2"));
}

TEST_F(Launch, exit_before_joining_ends_those_that_wait_for_it) {
  auto launcher = launch({"-n", "3"}, {"1:exit=3", "join", "leave"});
  EXPECT_EQ(launcher->wait(), 3);
  ASSERT_THAT(lines_of(launcher->error()), SizeIs(1)) << launcher->error();
  EXPECT_THAT(launcher->error(), HasSubstr("node 1"));
  EXPECT_THAT(launcher->error(), HasSubstr("exited with status 3 before it joined the others; ended the other"));
  EXPECT_LT(launcher->lifetime(), milliseconds(5'000));
}

TEST_F(Launch, a_peer_that_others_call_lost_ends_the_run) {
  auto launcher = launch({"-n", "3"}, {"join", "pid", "0:lost=2", "1:lost=2", "wait"});
  ASSERT_GT(pid_of(*launcher, 2), 0);
  EXPECT_EQ(launcher->wait(), 70);
  ASSERT_THAT(lines_of(launcher->error()), SizeIs(1)) << launcher->error();
  EXPECT_THAT(launcher->error(), HasSubstr("is lost: no answer for 2 s; ended the other 2"));
}

TEST_F(Launch, a_node_stopped_before_it_joins_is_named_after_the_bound) {
  auto launcher = launch({"-n", "3", "--join-timeout", "2"}, {"pid", "1:kill=19", "join", "leave"});
  EXPECT_EQ(launcher->wait(milliseconds(8'000)), 75);
  ASSERT_THAT(lines_of(launcher->error()), SizeIs(1)) << launcher->error();
  EXPECT_THAT(launcher->error(), HasSubstr("node 1"));
  EXPECT_THAT(launcher->error(), HasSubstr("did not join within 2 s; ended all 3"));
}

TEST_F(Launch, survivors_go_on_when_asked) {
  auto launcher = launch({"-n", "3", "--on-peer-lost", "continue"}, {"join", "handle=10", "pid", "wait"});
  const pid_t victim = pid_of(*launcher, 1);
  const pid_t others[] = {pid_of(*launcher, 0), pid_of(*launcher, 2)};
  ::kill(victim, SIGKILL);
  ASSERT_TRUE(eventually([&] { return launcher->error().find("the other 2 go on") != std::string::npos; }));
  for (const pid_t other : others) EXPECT_TRUE(alive(other));
  launcher->signal(SIGUSR1);  // handled: they end with 7
  EXPECT_EQ(launcher->wait(), 7);
}

TEST_F(Launch, signals_are_passed_on) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
    auto launcher = launch({"-n", "2"}, {"handle=" + std::to_string(signal), "print=ready", "wait"});
    ASSERT_TRUE(eventually([&] { return launcher->output() == "ready\nready\n"; }));
    launcher->signal(signal);
    EXPECT_EQ(launcher->wait(), 7);
    EXPECT_EQ(launcher->output(),
              "ready\nready\nsignal " + std::to_string(signal) + "\nsignal " + std::to_string(signal) + "\n");
    EXPECT_THAT(launcher->error(), IsEmpty());
  }
  auto unhandled = launch({"-n", "2"}, {"join", "print=ready", "wait"});
  ASSERT_TRUE(eventually([&] { return lines_of(unhandled->output()).size() == 4; }));
  unhandled->signal(SIGINT);
  EXPECT_EQ(unhandled->wait(), 128 + SIGINT);
  EXPECT_THAT(unhandled->error(), IsEmpty());
}

TEST_F(Launch, stopping_and_continuing_reach_the_nodes) {
  auto launcher = launch({"-n", "2"}, {"join", "pid", "wait"});
  const pid_t nodes[] = {pid_of(*launcher, 0), pid_of(*launcher, 1)};
  const auto state = [](pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    std::getline(file, text);
    return text[text.rfind(')') + 2];
  };
  launcher->signal(SIGTSTP);
  EXPECT_TRUE(
      eventually([&] { return state(launcher->pid()) == 'T' && state(nodes[0]) == 'T' && state(nodes[1]) == 'T'; }));
  launcher->signal(SIGCONT);
  EXPECT_TRUE(
      eventually([&] { return state(launcher->pid()) != 'T' && state(nodes[0]) != 'T' && state(nodes[1]) != 'T'; }));
  launcher->signal(SIGTERM);
  EXPECT_EQ(launcher->wait(), 128 + SIGTERM);
}

TEST_F(Launch, the_launchers_death_ends_the_nodes) {
  auto launcher = launch({"-n", "3"}, {"join", "0:children=2", "pid", "wait"});
  for (unsigned node = 0; node < 3; ++node) ASSERT_GT(pid_of(*launcher, node), 0);
  launcher->signal(SIGKILL);
  EXPECT_EQ(launcher->wait(), 128 + SIGKILL);
  // The children that node 0 started are no nodes; they end with their marks here.
  for (unsigned node = 0; node < 3; ++node) {
    const pid_t pid = pid_of(*launcher, node);
    EXPECT_TRUE(eventually([&] { return !alive(pid); }, milliseconds(3'000)));
  }
  for (const pid_t pid : processes_with(mark_)) ::kill(pid, SIGKILL);
}

TEST_F(Launch, a_hundred_nodes) {
  auto launcher = launch({"-n", "100"}, {"join", "leave"});
  EXPECT_EQ(launcher->wait(milliseconds(60'000)), 0) << launcher->error();
  EXPECT_THAT(lines_of(launcher->output()), SizeIs(100));
}

TEST_F(Launch, a_stranger_at_the_port_is_refused_with_one_line) {
  auto launcher = launch({"-n", "2", "--port", "17391"}, {"0:join", "1:cat", "1:print=waiting", "0:wait", "1:wait"});
  ASSERT_TRUE(launcher->await_output("waiting"));
  Process stranger({"bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/17391; echo GET / HTTP/1.0 >&3; cat <&3 | wc -c"});
  EXPECT_EQ(stranger.wait(), 0);
  EXPECT_EQ(stranger.output(), "0\n");
  ASSERT_TRUE(
      eventually([&] { return launcher->error().find("refused a connection from 127.0.0.1") != std::string::npos; }));
  EXPECT_THAT(lines_of(launcher->error()), SizeIs(1));
  launcher->signal(SIGTERM);
  EXPECT_EQ(launcher->wait(), 128 + SIGTERM);
}

}  // namespace
}  // namespace gallocy::testing
