// Wrong use of `gallocy run`: one clear line and the documented status each.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "launch_fixture.h"

namespace gallocy::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class RunInput : public LaunchFixture {
 protected:
  void expect(Arguments arguments, int status, const std::string& said) {
    arguments.insert(arguments.begin(), "run");
    auto process = gallocy(arguments);
    EXPECT_EQ(process->wait(milliseconds(40'000)), status) << said << process->error();
    EXPECT_THAT(lines_of(process->error()), SizeIs(1)) << process->error();
    EXPECT_THAT(process->error(), HasSubstr(said));
    EXPECT_THAT(process->error(), ::testing::StartsWith("gallocy: "));
    EXPECT_THAT(process->output(), IsEmpty());
  }
  std::string file(const std::string& name, const std::string& text, unsigned mode = 0700) const {
    const auto path = folder_ + "/" + name;
    std::ofstream(path) << text;
    ::chmod(path.c_str(), mode);
    return path;
  }
};

TEST_F(RunInput, wrong_options) {
  expect({}, 64, "needs a program");
  expect({"-n", "4"}, 64, "needs a program");
  expect({"-n", "0", "--", "true"}, 64, "-n");
  expect({"-n", "1001", "--", "true"}, 64, "-n");
  expect({"-n", "many", "--", "true"}, 64, "many");
  expect({"-n"}, 64, "-n");
  expect({"--bogus", "--", "true"}, 64, "--bogus");
  expect({"--place", "nowhere", "--", "true"}, 64, "nowhere");
  expect({"-n", "2", "--place", "1,,0", "--", "true"}, 64, "'1,,0'");
  expect({"-n", "2", "--place", "0,2", "--", "true"}, 64, "node 2, but the nodes are 0 to 1");
  expect({"--transport", "pigeon", "--", "true"}, 64, "pigeon");
  expect({"--memory", "lots", "--", "true"}, 64, "lots");
  expect({"--memory", "0", "--", "true"}, 64, "'0'");
  expect({"--fault-engine", "luck", "--", "true"}, 64, "luck");
  expect({"--port", "99999", "--", "true"}, 64, "99999");
  expect({"--join-timeout", "0", "--", "true"}, 64, "--join-timeout");
  expect({"--connect-timeout", "x", "--", "true"}, 64, "--connect-timeout");
  expect({"--on-peer-lost", "continue", "--", "true"}, 64, "--on-peer-lost");
  expect({"--prefix", "--", "true"}, 64, "--prefix");
}

TEST_F(RunInput, wrong_hosts) {
  expect({"--hosts", "a,a", "--", "true"}, 64, "'a' twice");
  expect({"--hosts", "-oProxyCommand=x", "--", "true"}, 64, "not a host name");
  expect({"--hosts", "a:x", "--", "true"}, 64, "'a:x'");
  expect({"-n", "6", "--hosts", "a:2,b:2", "--", "true"}, 64, "room for");
  expect({"-n", "1", "--hosts", "a", "--", "true"}, 64, "-n 1 leaves no node for --hosts");
  expect({"--hosts", "a", "--transport", "shm", "--", "true"}, 64, "one machine");
  expect({"--hosts", "a", "--launch", "ssh {host}", "--", "true"}, 64, "{command}");
  expect({"--hosts", "far", "--launch", "echo no route >&2; exit 255 # {host} {command}", "--", "true"}, 68,
         "cannot reach host far: no route");
  expect({"--hosts", "old", "--address", "127.0.0.1", "--launch", "exec {command} # {host}", "--remote-command",
          "/nonesuch/gallocy", "--", "true"},
         68, "cannot reach host old");
  expect({"--hosts", "deaf", "--connect-timeout", "1", "--launch", "exec sleep 60 # {host} {command}", "--", "true"},
         68, "no answer within 1 s");
}

TEST_F(RunInput, files_of_the_command) {
  expect({"--directory", "/nonesuch", "--", "true"}, 66, "/nonesuch");
  expect({"--secret-file", folder_ + "/nonesuch", "--", "true"}, 66, "secret file");
  expect({"--secret-file", file("open", "0123456789abcdef\n", 0644), "--", "true"}, 77, "chmod 600");
  expect({"--stats", "/nonesuch/stats.json", "--", "true"}, 66, "/nonesuch/stats.json");
}

// What a shell says of them: 127 is not there, 126 cannot be executed.
TEST_F(RunInput, programs_that_cannot_run) {
  const auto elf = [&](const std::string& name, char machine_class, char machine) {
    std::string header(64, '\0');
    header.replace(0, 7,
                   std::string("\x7f"
                               "ELF") +
                       machine_class + '\1' + '\1');
    header[16] = 2;  // an executable
    header[18] = machine;
    header[20] = 1;
    return file(name, header);
  };
  expect({"-n", "2", "--", "nonesuch-program"}, 127, "program not found: nonesuch-program");
  expect({"-n", "2", "--", "/nonesuch/program"}, 127, "program not found: /nonesuch/program");
  expect({"-n", "2", "--", file("data", "no program\n", 0600)}, 126, "Permission denied");
  expect({"-n", "2", "--", folder_}, 126, "directory");
  expect({"-n", "2", "--", file("binary", std::string("\1\0\2", 3))}, 126, "it is not an ELF program");
  expect({"-n", "2", "--", elf("short", 2, 62)}, 126, "short");
  expect({"-n", "2", "--", elf("i386", 1, 3)}, 126, "i386");
  expect({"-n", "2", "--", elf("arm", 2, '\xb7')}, 126, "arm");
  expect({"-n", "2", "--", file("script", "#!/nonesuch/interpreter\n")}, 126, "/nonesuch/interpreter");
}

TEST_F(RunInput, programs_that_change_ids) {
  if (::geteuid() != 0) GTEST_SKIP() << "giving files away needs root";
  for (const unsigned mode : {04755U, 02755U}) {
    const auto path = file("privileged", "", 0600);
    std::filesystem::copy_file("/bin/true", path, std::filesystem::copy_options::overwrite_existing);
    ASSERT_EQ(::chown(path.c_str(), 65534, 65534), 0);
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    expect({"-n", "2", "--", path}, 126, "set-user-id or set-group-id");
  }
}

// As a shell, env and nice do.
TEST_F(RunInput, a_script_without_interpreter_is_the_shells) {
  auto process = gallocy({"run", "-n", "2", "--", file("plain", "echo plain $1\nexit 3\n"), "word"});
  EXPECT_EQ(process->wait(milliseconds(40'000)), 3) << process->error();
  EXPECT_EQ(process->output(), "plain word\n");
  auto nothing = gallocy({"run", "-n", "2", "--", file("empty", "")});
  EXPECT_EQ(nothing->wait(milliseconds(40'000)), 0) << nothing->error();
}

}  // namespace
}  // namespace gallocy::testing
