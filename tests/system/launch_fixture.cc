#include "launch_fixture.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace gallocy::testing {

LaunchFixture::LaunchFixture() {
  char name[] = "/tmp/gallocy-test-XXXXXX";
  folder_ = ::mkdtemp(name);
  mark_ = "GALLOCY_TEST_MARK=" + folder_;
}

void LaunchFixture::SetUp() {
  const std::filesystem::path runtime = folder_ + "/run";
  std::filesystem::create_directory(runtime);
  std::filesystem::permissions(runtime, std::filesystem::perms::owner_all);
}

void LaunchFixture::TearDown() {
  std::vector<pid_t> left;
  const bool clean = eventually(
      [&] {
        left = processes_with(mark_);
        return left.empty();
      },
      milliseconds(3'000));
  EXPECT_TRUE(clean) << left.size() << " processes are left behind, the first is " << left.front();
  for (const pid_t pid : left) ::kill(pid, SIGKILL);
  std::filesystem::remove_all(folder_);
}

std::unique_ptr<Process> LaunchFixture::gallocy(Arguments arguments, Process::Options options) {
  arguments.insert(arguments.begin(), GALLOCY_COMMAND);
  options.environment.emplace("XDG_RUNTIME_DIR", folder_ + "/run");
  options.environment.emplace(mark_.substr(0, mark_.find('=')), folder_);
  return std::make_unique<Process>(arguments, options);
}

std::unique_ptr<Process> LaunchFixture::launch(Arguments flags, const Arguments& actions, Process::Options options) {
  flags.insert(flags.begin(), "launch");
  flags.insert(flags.end(), {"--", SCRIPT_NODE});
  flags.insert(flags.end(), actions.begin(), actions.end());
  return gallocy(flags, std::move(options));
}

pid_t LaunchFixture::pid_of(const Process& launcher, unsigned node) {
  const auto sentence = "node " + std::to_string(node) + " is ";
  std::string output;
  const bool said = eventually([&] {
    output = launcher.output();
    const auto at = output.find(sentence);
    return at != std::string::npos && output.find('\n', at) != std::string::npos;
  });
  EXPECT_TRUE(said) << "node " << node << " did not tell its pid; " << launcher.error();
  return said ? std::stoi(output.substr(output.find(sentence) + sentence.size())) : -1;
}

void LaunchFixture::damage(const std::string& file) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  ASSERT_TRUE(stream.seekp(200)) << file;
  stream.write("\x17\x71\x17", 3);
}

std::vector<std::string> LaunchFixture::messages(const Process& launcher) {
  std::vector<std::string> found;
  for (const auto& line : lines_of(launcher.error())) {
    if (line.starts_with("gallocy: ")) found.push_back(line);
  }
  return found;
}

}  // namespace gallocy::testing
