// Wrong flags, missing programs, taken ports, full disks: one clear line and a documented status each.
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "launch_fixture.h"

namespace gallocy::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class BadInput : public LaunchFixture {
 protected:
  void expect(const Arguments& arguments, int status, const std::string& said) {
    auto process = gallocy(arguments);
    EXPECT_EQ(process->wait(), status) << said;
    EXPECT_THAT(lines_of(process->error()), SizeIs(1)) << process->error();
    EXPECT_THAT(process->error(), HasSubstr(said));
    EXPECT_THAT(process->error(), ::testing::StartsWith("gallocy: "));
    EXPECT_THAT(process->output(), IsEmpty());
  }
};

TEST_F(BadInput, wrong_command_lines) {
  expect({}, 64, "subcommand");
  expect({"lunch"}, 64, "lunch");
  expect({"--what"}, 64, "--what");
  expect({"launch", "-n", "4"}, 64, "program");
  expect({"launch", "-n", "0", "--", "true"}, 64, "-n");
  expect({"launch", "-n", "1001", "--", "true"}, 64, "-n");
  expect({"launch", "-n", "many", "--", "true"}, 64, "many");
  expect({"launch", "--transport", "pigeon", "--", "true"}, 64, "pigeon");
  expect({"launch", "--memory", "lots", "--", "true"}, 64, "lots");
  expect({"launch", "--fault-engine", "luck", "--", "true"}, 64, "luck");
  expect({"launch", "--on-peer-lost", "cry", "--", "true"}, 64, "cry");
  expect({"launch", "--bogus", "--", "true"}, 64, "--bogus");
  expect({"launch", "--hosts", "a,a", "--", "true"}, 64, "'a' twice");
  expect({"launch", "--hosts", "-oProxyCommand=x", "--", "true"}, 64, "not a host name");
  expect({"launch", "--hosts", "a:x", "--", "true"}, 64, "'a:x'");
  expect({"launch", "-n", "5", "--hosts", "a:2,b:2", "--", "true"}, 64, "4 nodes");
  expect({"launch", "--hosts", "a,b", "--transport", "shm", "--", "true"}, 64, "one machine");
  expect({"launch", "--hosts", "a", "--launch", "ssh {host}", "--", "true"}, 64, "{command}");
  expect({"doctor", "--fix"}, 64, "--fix");
  expect({"stat", "../etc/passwd"}, 64, "not the name of a run");
  expect({"stat", "nonesuch"}, 66, "nonesuch");
  expect({"stat"}, 66, "no run");
}

TEST_F(BadInput, help_and_version) {
  auto version = gallocy({"--version"});
  EXPECT_EQ(version->wait(), 0);
  EXPECT_THAT(version->output(), ::testing::MatchesRegex("gallocy [0-9.]+\n"));
  auto help = gallocy({"--help"});
  EXPECT_EQ(help->wait(), 0);
  for (const char* name : {"launch", "doctor", "stat"}) EXPECT_THAT(help->output(), HasSubstr(name));
  auto more = gallocy({"launch", "--help"});
  EXPECT_EQ(more->wait(), 0);
  EXPECT_THAT(more->output(), HasSubstr("--on-peer-lost"));
  EXPECT_THAT(more->output(), HasSubstr("Exit status"));
}

TEST_F(BadInput, programs_that_cannot_run) {
  const auto file = folder_ + "/notes";
  std::ofstream(file) << "no program\n";
  expect({"launch", "-n", "2", "--", "nonesuch-program"}, 127, "program not found: nonesuch-program");
  expect({"launch", "-n", "2", "--", "/nonesuch/program"}, 127, "program not found: /nonesuch/program");
  expect({"launch", "-n", "2", "--", file}, 126, "Permission denied");
  ::chmod(file.c_str(), 0700);
  expect({"launch", "-n", "2", "--", file}, 126, "Exec format error");
  expect({"launch", "-n", "2", "--", folder_}, 126, "directory");
  expect({"launch", "--directory", "/nonesuch", "--", "true"}, 66, "/nonesuch");
}

TEST_F(BadInput, a_port_in_use) {
  auto first = launch({"-n", "1", "--port", "17392"}, {"print=ready", "wait"});
  ASSERT_TRUE(first->await_output("ready"));
  expect({"launch", "--port", "17392", "--", "true"}, 72, "127.0.0.1:17392");
  first->signal(SIGTERM);
  first->wait();
}

TEST_F(BadInput, secret_files) {
  const auto file = folder_ + "/secret";
  expect({"launch", "--secret-file", file, "--", "true"}, 66, "secret file");
  std::ofstream(file) << "0123456789abcdef\n";
  ::chmod(file.c_str(), 0644);
  expect({"launch", "--secret-file", file, "--", "true"}, 77, "chmod 600");
  ::chmod(file.c_str(), 0600);
  auto good = launch({"-n", "2", "--secret-file", file}, {"join", "leave"});
  EXPECT_EQ(good->wait(), 0);
  std::ofstream(file) << "short\n";
  expect({"launch", "--secret-file", file, "--", "true"}, 64, "16 to 256 bytes");
}

// A tiny file system that is full. Skipped where mounts are not permitted.
class FullDisk : public BadInput {
 protected:
  void SetUp() override {
    BadInput::SetUp();
    path_ = folder_ + "/full";
    ::mkdir(path_.c_str(), 0700);
    if (::mount("gallocy-test", path_.c_str(), "tmpfs", 0, "size=64k,nr_inodes=16") != 0) {
      GTEST_SKIP() << "mounting a small file system needs root";
    }
    mounted_ = true;
  }
  void TearDown() override {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
    BadInput::TearDown();
  }
  void fill() {
    std::ofstream file(path_ + "/filler");
    while (file << std::string(1024, 'x') << std::flush) {
    }
  }
  std::string path_;
  bool mounted_ = false;
};

TEST_F(FullDisk, of_the_run_directory_is_a_warning) {
  ::mkdir((path_ + "/gallocy").c_str(), 0700);
  fill();
  Process::Options options;
  options.environment["XDG_RUNTIME_DIR"] = path_;
  auto launcher = launch({"-n", "2"}, {"join", "leave", "print=done"}, options);
  EXPECT_EQ(launcher->wait(), 0);
  EXPECT_THAT(lines_of(launcher->output()), ::testing::IsSupersetOf({"done", "done"}));
  ASSERT_THAT(lines_of(launcher->error()), SizeIs(1)) << launcher->error();
  EXPECT_THAT(launcher->error(), HasSubstr("warning: gallocy stat will not show this run"));
  EXPECT_THAT(launcher->error(), HasSubstr("No space left on device"));
}

TEST_F(FullDisk, of_the_statistics_file_is_a_failure_of_a_good_run) {
  fill();
  auto launcher = launch({"-n", "2", "--stats", path_ + "/stats.json"}, {"join", "leave"});
  EXPECT_EQ(launcher->wait(), 73);
  ASSERT_THAT(lines_of(launcher->error()), SizeIs(1)) << launcher->error();
  EXPECT_THAT(launcher->error(), HasSubstr("stats.json: No space left on device"));
  EXPECT_EQ(launch({"-n", "2", "--stats", path_ + "/stats.json"}, {"1:exit=4"})->wait(), 4);
}

TEST_F(FullDisk, of_the_output_ends_the_run) {
  fill();
  Process::Options options;
  options.output = ::open((path_ + "/filler").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  auto launcher = launch({"-n", "2"}, {"join", "lines=10000000"}, options);
  EXPECT_EQ(launcher->wait(), 73);
  ::close(options.output);
  ASSERT_THAT(lines_of(launcher->error()), SizeIs(1)) << launcher->error();
  EXPECT_THAT(launcher->error(), HasSubstr("cannot write standard output: No space left on device"));
}

}  // namespace
}  // namespace gallocy::testing
