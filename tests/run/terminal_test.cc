// `gallocy run` on a terminal: line editing, job control, window size, and signals to the command.
#include "terminal.h"

#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "launch_fixture.h"

namespace gallocy::testing {
namespace {

using ::testing::HasSubstr;

char state_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  const auto close = text.rfind(')');
  return close == std::string::npos ? '-' : text[close + 2];
}

class OnTerminal : public LaunchFixture {
 protected:
  std::unique_ptr<Terminal> terminal(const Arguments& program) {
    return std::make_unique<Terminal>(program,
                                      std::map<std::string, std::string>{{"XDG_RUNTIME_DIR", folder_ + "/run"},
                                                                         {mark_.substr(0, mark_.find('=')), folder_},
                                                                         {"PS1", "ready> "},
                                                                         {"TERM", "vt100"},
                                                                         {"INPUTRC", "/dev/null"}});
  }
  std::unique_ptr<Terminal> run(const Arguments& program) {
    Arguments all{GALLOCY_COMMAND, "run", "-n", "3", "--"};
    all.insert(all.end(), program.begin(), program.end());
    return terminal(all);
  }
  std::vector<pid_t> nodes() const {
    std::vector<pid_t> found;
    for (const pid_t pid : processes_with(mark_)) {
      std::ifstream file("/proc/" + std::to_string(pid) + "/cmdline");
      const std::string command{std::istreambuf_iterator<char>(file), {}};
      if (command.find('\0' + std::string("guest") + '\0') != std::string::npos) found.push_back(pid);
    }
    return found;
  }
};

TEST_F(OnTerminal, python_edits_lines_is_interrupted_and_sees_the_window) {
  if (::access("/usr/bin/python3", X_OK) != 0) GTEST_SKIP() << "there is no python3";
  auto python = run({"/usr/bin/python3", "-q", "-i"});
  ASSERT_TRUE(python->await(">>> ")) << python->screen();
  python->type(
      "print(100 + 9\x7f"
      "8, 'sum')\r");  // a digit is rubbed out
  EXPECT_TRUE(python->await("108 sum")) << python->screen();
  python->type("print('a' + 'gain')\r");
  EXPECT_TRUE(python->await("again")) << python->screen();
  python->type("\x10\r");  // ^P: the line before once more
  EXPECT_TRUE(python->await("again")) << python->screen();
  python->type("import os, signal, time\r");
  python->type("print('sle' + 'eps'); time.sleep(600)\r");
  ASSERT_TRUE(python->await("sleeps")) << python->screen();
  python->type("\x03");
  EXPECT_TRUE(python->await("KeyboardInterrupt")) << python->screen();
  python->type("x = signal.signal(signal.SIGWINCH, lambda *a: print('re' + 'sized', os.get_terminal_size()))\r");
  python->type("print('hand' + 'ler')\r");
  ASSERT_TRUE(python->await("handler")) << python->screen();
  python->resize(33, 101);
  python->type("\r");  // readline calls handlers between keys
  EXPECT_TRUE(python->await("resized os.terminal_size(columns=101, lines=33)")) << python->screen();
  python->type("raise SystemExit(7)\r");
  EXPECT_EQ(python->wait(), 7) << python->screen();
}

TEST_F(OnTerminal, bash_controls_its_jobs) {
  auto bash = run({"bash", "--norc", "--noprofile", "-i"});
  ASSERT_TRUE(bash->await("ready> ")) << bash->screen();
  EXPECT_THAT(bash->screen(), ::testing::Not(HasSubstr("no job control")));
  const pid_t shell = bash->foreground();
  // Another program in the foreground.
  const auto sleeps = [&] {
    std::ifstream file("/proc/" + std::to_string(bash->foreground()) + "/comm");
    std::string name;
    return std::getline(file, name) && name == "sleep" && bash->foreground() != shell;
  };
  bash->type("sleep 600\r");
  ASSERT_TRUE(eventually(sleeps)) << bash->screen();
  bash->type("\x1a");
  ASSERT_TRUE(bash->await("Stopped") && bash->await("ready> ")) << bash->screen();
  EXPECT_EQ(bash->foreground(), shell);
  bash->type("jobs\r");
  EXPECT_TRUE(bash->await("[1]") && bash->await("Stopped") && bash->await("ready> ")) << bash->screen();
  bash->type("fg %1\r");
  ASSERT_TRUE(eventually(sleeps)) << bash->screen();
  bash->type("\x03");
  ASSERT_TRUE(bash->await("ready> ")) << bash->screen();
  bash->type("echo status:$?\r");
  EXPECT_TRUE(bash->await("status:130")) << bash->screen();
  bash->type("sleep 600 &\r");
  bash->type("kill %1; wait %1; echo status:$?\r");
  EXPECT_TRUE(bash->await("status:143")) << bash->screen();
  bash->type("exit 5\r");
  EXPECT_EQ(bash->wait(), 5) << bash->screen();
}

// As a job of an ordinary shell: stopped for longer than nodes may be silent, and continued.
TEST_F(OnTerminal, a_stopped_program_is_stopped_on_all_nodes_and_goes_on) {
  if (::access("/usr/bin/python3", X_OK) != 0) GTEST_SKIP() << "there is no python3";
  auto shell = terminal({"bash", "--norc", "--noprofile", "-i"});
  ASSERT_TRUE(shell->await("ready> ")) << shell->screen();
  std::ofstream(folder_ + "/counts.py")
      << "import threading, time\n"
         "counts = [0] * 4\n"
         "def work(i):\n"
         "    while True: counts[i] += 1; time.sleep(0.01)\n"
         "for i in range(4): threading.Thread(target=work, args=(i,), daemon=True).start()\n"
         "while True:\n"
         "    before = list(counts)\n"
         "    while any(a == b for a, b in zip(before, counts)): time.sleep(0.01)\n"
         "    print('counted', flush=True)\n";
  shell->type(std::string(GALLOCY_COMMAND) + " run -n 3 -- /usr/bin/python3 " + folder_ + "/counts.py\r");
  ASSERT_TRUE(shell->await("counted\r")) << shell->screen();
  shell->type("\x1a");
  ASSERT_TRUE(shell->await("Stopped") && shell->await("ready> ")) << shell->screen();
  const auto all = nodes();
  ASSERT_EQ(all.size(), 3u);
  for (const pid_t pid : all) EXPECT_TRUE(eventually([&] { return state_of(pid) == 'T'; }));
  // Longer than the bound on silence.
  const auto any_runs = [&] { return std::ranges::any_of(all, [](pid_t pid) { return state_of(pid) != 'T'; }); };
  EXPECT_FALSE(eventually(any_runs, milliseconds(11'000)));
  shell->type("fg\r");
  EXPECT_TRUE(shell->await("counted\r") && shell->await("counted\r")) << shell->screen();
  shell->type("\x03");
  ASSERT_TRUE(shell->await("ready> ")) << shell->screen();
  shell->type("echo status:$?\r");
  EXPECT_TRUE(shell->await("status:130")) << shell->screen();
  shell->type("exit\r");
  shell->wait();
}

// To the command, which stands for the program.
class SignalsToTheCommand : public LaunchFixture, public ::testing::WithParamInterface<int> {};

// Not by bash, in which a SIGINT that comes while it changes its handler for a child leads to another for ever.
TEST_P(SignalsToTheCommand, reach_a_handler) {
  auto launcher = gallocy({"run", "-n", "2", "--", "sh", "-c",
                           "trap 'echo got; exit 3' TERM INT HUP QUIT USR1; echo ready; while :; do sleep 0.05; done"});
  ASSERT_TRUE(launcher->await_output("ready", milliseconds(40'000))) << launcher->error();
  launcher->signal(GetParam());
  EXPECT_EQ(launcher->wait(milliseconds(40'000)), 3) << launcher->error();
  EXPECT_THAT(launcher->output(), HasSubstr("got\n"));
}

// Not by bash, which ignores SIGQUIT until it has become the other program.
TEST_P(SignalsToTheCommand, end_a_program_without_handler) {
  auto launcher = gallocy({"run", "-n", "2", "--", "sh", "-c", "ulimit -c 0; echo ready; exec sleep 60"});
  ASSERT_TRUE(launcher->await_output("ready", milliseconds(40'000))) << launcher->error();
  launcher->signal(GetParam());
  EXPECT_EQ(launcher->wait(milliseconds(40'000)), 128 + GetParam()) << launcher->error();
}

INSTANTIATE_TEST_SUITE_P(signals, SignalsToTheCommand, ::testing::Values(SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1),
                         [](const auto& given) { return std::string(sigabbrev_np(given.param)); });

}  // namespace
}  // namespace gallocy::testing
