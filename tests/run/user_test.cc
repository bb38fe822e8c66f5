// `gallocy run` as a user without privileges, with each way of catching page faults that such a user has.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "launch_fixture.h"

namespace gallocy::testing {
namespace {

constexpr unsigned kNobody = 65534;

class AsNobody : public LaunchFixture, public ::testing::WithParamInterface<const char*> {};

TEST_P(AsNobody, programs_run_as_natively) {
  if (::geteuid() != 0) GTEST_SKIP() << "running as another user needs root";
  ::chmod(folder_.c_str(), 0755);
  for (const char* path : {"/run", "/work"}) {  // what nobody may write to
    std::filesystem::create_directory(folder_ + path);
    ASSERT_EQ(::chown((folder_ + path).c_str(), kNobody, kNobody), 0);
  }
  std::filesystem::copy(GALLOCY_COMMAND, folder_);
  Process::Options options;
  options.user = kNobody;
  options.environment = {{"XDG_RUNTIME_DIR", folder_ + "/run"}, {mark_.substr(0, mark_.find('=')), folder_}};
  for (const char* name :
       {"threads", "condvars", "mmap_anonymous", "protections", "signals", "spawn", "fork_wait", "exit_from_thread"}) {
    SCOPED_TRACE(name);
    const auto program = folder_ + "/" + name;
    std::filesystem::copy(std::string(RUN_PROGRAMS) + "/" + name, folder_);
    Process natively({"env", "-C", folder_ + "/work", program}, options);
    const int status = natively.wait();
    Process here({folder_ + "/gallocy", "run", "-n", "2", "--fault-engine", GetParam(), "--directory",
                  folder_ + "/work", "--", program},
                 options);
    const int result = here.wait(milliseconds(60'000));
    if (result == 69) GTEST_SKIP() << here.error();
    EXPECT_EQ(result, status) << here.error();
    EXPECT_EQ(here.output(), natively.output());
  }
}

INSTANTIATE_TEST_SUITE_P(engines, AsNobody, ::testing::Values("uffd-sigbus", "sigsegv"), [](const auto& given) {
  return std::string(given.param) == "sigsegv" ? "sigsegv" : "uffd_sigbus";
});

}  // namespace
}  // namespace gallocy::testing
