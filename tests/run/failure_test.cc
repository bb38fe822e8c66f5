// Failures of `gallocy run`: what is lost, cut off or stopped ends the program with one line and status 70, and nothing
// is left behind (LaunchFixture::TearDown) on any host.
#include <dirent.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "run_fixture.h"

namespace gallocy::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Under 2 s on an idle machine, but for stopped nodes.
constexpr milliseconds kSoon{10'000}, kStopped{30'000};

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Threads on all nodes; then a child, and memory that all of them write. Says so when all run.
const char* const kProgram =
    "import threading, time, subprocess, os\n"
    "open('/sys/devices/system/node/online').read()\n"  // the view of the machine, which is in files
    "started = threading.Barrier(5)\n"
    "def work():\n"
    "    started.wait()\n"
    "    while True: time.sleep(0.01)\n"
    "for _ in range(4): threading.Thread(target=work, daemon=True).start()\n"
    "child = subprocess.Popen(['sleep', '60'])\n"
    "started.wait()\n"
    "print('running', flush=True)\n"
    "child.wait()\n";

class Failure : public BareHosts {
 protected:
  Failure() : BareHosts(2) {}

  void SetUp() override {
    BareHosts::SetUp();
    if (::access("/usr/bin/python3", X_OK) != 0) GTEST_SKIP() << "there is no python3";
  }

  void start() {
    launcher_ = run_on_hosts(2, {"/usr/bin/python3", "-c", kProgram});
    ASSERT_TRUE(launcher_->await_output("running", milliseconds(40'000))) << launcher_->error();
    for (int i = 0; i < 3; ++i) ASSERT_GT(node_[i] = node(i), 1);
    view_ = "/dev/shm/gallocy-machine-" + std::to_string(node_[0]);
    ASSERT_EQ(::access(view_.c_str(), F_OK), 0);
  }
  // The process of a node: namespaces are of no concern here.
  pid_t node(int number) const {
    for (const pid_t pid : processes_with(mark_)) {
      const auto environment = '\0' + text_of("/proc/" + std::to_string(pid) + "/environ");
      const auto command = text_of("/proc/" + std::to_string(pid) + "/cmdline");
      const auto wanted = '\0' + ("GALLOCY_NODE=" + std::to_string(number)) + '\0';
      if (environment.find(wanted) != std::string::npos && command.find("guest") != std::string::npos) return pid;
    }
    return -1;
  }
  pid_t agent_of(int number) const {
    const auto status = text_of("/proc/" + std::to_string(node_[number]) + "/status");
    return std::stoi(status.substr(status.find("PPid:") + 5));
  }
  void expect_end(const std::string& said, milliseconds bound = kSoon) {
    EXPECT_EQ(launcher_->wait(bound), 70) << launcher_->error();
    ASSERT_THAT(lines_of(launcher_->error()), SizeIs(1)) << launcher_->error();
    EXPECT_THAT(launcher_->error(), HasSubstr(said));
    EXPECT_NE(::access(view_.c_str(), F_OK), 0) << view_ << " is left behind";
  }
  void end_child() const {  // of a program that was killed: like all its children it lives on
    for (const pid_t pid : processes_with(mark_)) {
      if (text_of("/proc/" + std::to_string(pid) + "/cmdline").starts_with("sleep")) ::kill(pid, SIGKILL);
    }
  }

  std::unique_ptr<Process> launcher_;
  pid_t node_[3] = {};
  std::string view_;
};

TEST_F(Failure, a_killed_worker) {
  start();
  ::kill(node_[1], SIGKILL);
  expect_end("node 1 (" + hosts_.name(0) + ", pid ");
}

TEST_F(Failure, a_stopped_worker) {
  start();
  ::kill(node_[2], SIGSTOP);
  expect_end("node 2 (" + hosts_.name(1) + ", pid ", kStopped);
  EXPECT_THAT(launcher_->error(), HasSubstr("silent for"));
}

TEST_F(Failure, a_killed_agent) {
  start();
  ::kill(agent_of(1), SIGKILL);
  expect_end("node 1 on " + hosts_.name(0));
}

TEST_F(Failure, a_cut_line_to_a_worker) {
  start();
  hosts_.set_link(1, "down");
  expect_end("node 2 (" + hosts_.name(1) + ", pid ");
}

TEST_F(Failure, a_cut_line_between_workers) {
  start();
  hosts_.part(0, 1);
  expect_end("its machine has not answered");
}

TEST_F(Failure, a_killed_home_ends_as_a_killed_program) {
  start();
  ::kill(node_[0], SIGKILL);
  EXPECT_EQ(launcher_->wait(kSoon), 128 + SIGKILL);
  EXPECT_THAT(launcher_->error(), IsEmpty());
  EXPECT_NE(::access(view_.c_str(), F_OK), 0) << view_ << " is left behind";
  end_child();
}

TEST_F(Failure, a_killed_launcher_ends_all_nodes) {
  start();
  launcher_->signal(SIGKILL);
  EXPECT_EQ(launcher_->wait(kSoon), 128 + SIGKILL);
  EXPECT_TRUE(eventually([&] { return !alive(node_[0]) && !alive(node_[1]) && !alive(node_[2]); }, kSoon));
  end_child();
}

class Start : public LaunchFixture {};

// A start that does not come about, since a host does not answer, ends by a signal like any program.
TEST_F(Start, that_hangs_is_ended_by_a_signal) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
    auto launcher = gallocy({"run", "--hosts", "deaf", "--address", "127.0.0.1", "--launch",
                             "echo {host} >>" + folder_ + "/log; exec sleep 60 # {command}", "--", "true"});
    const auto asked = [&] { return ::access((folder_ + "/log").c_str(), F_OK) == 0; };
    ASSERT_TRUE(eventually(asked)) << launcher->error();
    launcher->signal(signal);
    EXPECT_EQ(launcher->wait(kSoon), 128 + signal) << launcher->error();
    ::unlink((folder_ + "/log").c_str());
  }
}

}  // namespace
}  // namespace gallocy::testing
