#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <map>

#include "net/rendezvous.h"

namespace gallocy::net {
namespace {

using testing::HasSubstr;

class LaunchEnvironment : public testing::Test {
 protected:
  void SetUp() override {
    secret_fd_ = ::memfd_create("secret", MFD_ALLOW_SEALING);
    const std::string_view secret = "0123456789abcdef0123456789abcdef";
    ASSERT_EQ(::write(secret_fd_, secret.data(), secret.size()), ssize_t(secret.size()));
    ASSERT_EQ(::fcntl(secret_fd_, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
    set({{"GALLOCY_NODE", "1"},
         {"GALLOCY_NODES", "4"},
         {"GALLOCY_LOCAL_NODES", "2"},
         {"GALLOCY_LOCAL_INDEX", "1"},
         {"GALLOCY_LAUNCHER", "127.0.0.1:7000"},
         {"GALLOCY_SECRET_FD", fmt::format("{}", secret_fd_)},
         {"GALLOCY_TRANSPORT", "shm"},
         {"GALLOCY_ENCRYPT", "0"},
         {"GALLOCY_LISTEN_HOST", ""},
         {"GALLOCY_JOIN_TIMEOUT", "30"}});
  }
  void TearDown() override {
    for (const auto& [name, value] : set_) ::unsetenv(name.c_str());
    ::close(secret_fd_);
  }
  void set(const std::map<std::string, std::string>& variables) {
    for (const auto& [name, value] : variables) {
      ::setenv(name.c_str(), value.c_str(), 1);
      set_[name] = value;
    }
  }
  std::string error_with(const char* name, const char* value) {
    ::setenv(name, value, 1);
    const auto launched = launch_from_environment();
    ::setenv(name, set_[name].c_str(), 1);
    return launched ? "no error" : launched.error().message;
  }

  int secret_fd_ = -1;
  std::map<std::string, std::string> set_;
};

TEST_F(LaunchEnvironment, is_read_in_full) {
  const auto launched = launch_from_environment();
  ASSERT_TRUE(launched) << launched.error().message;
  ASSERT_TRUE(*launched);
  const auto& it = **launched;
  EXPECT_EQ(it.node, NodeId{1});
  EXPECT_EQ(it.nodes, 4);
  EXPECT_EQ(it.local_nodes, 2);
  EXPECT_EQ(it.local_index, 1);
  EXPECT_EQ(it.launcher_host, "127.0.0.1");
  EXPECT_EQ(it.launcher_port, 7000);
  EXPECT_EQ(it.secret.size(), 32u);
  EXPECT_EQ(it.transport, LinkKind::kShm);
  EXPECT_FALSE(it.encrypt);
  EXPECT_EQ(it.join_timeout, std::chrono::seconds(30));
  EXPECT_EQ(::fcntl(secret_fd_, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST_F(LaunchEnvironment, none_means_not_launched) {
  ::unsetenv("GALLOCY_NODE");
  const auto launched = launch_from_environment();
  ASSERT_TRUE(launched);
  EXPECT_FALSE(*launched);
}

TEST_F(LaunchEnvironment, v6_launchers_are_in_brackets) {
  set({{"GALLOCY_LAUNCHER", "[fe80::1]:7000"}});
  const auto launched = launch_from_environment();
  ASSERT_TRUE(launched);
  EXPECT_EQ((*launched)->launcher_host, "fe80::1");
}

TEST_F(LaunchEnvironment, each_wrong_variable_is_named) {
  const std::pair<const char*, const char*> wrong[] = {
      {"GALLOCY_NODE", "4"},          {"GALLOCY_NODE", "-1"},
      {"GALLOCY_NODE", "1x"},         {"GALLOCY_NODES", "0"},
      {"GALLOCY_NODES", "1001"},      {"GALLOCY_LOCAL_NODES", "5"},
      {"GALLOCY_LOCAL_INDEX", "2"},   {"GALLOCY_LAUNCHER", "host"},
      {"GALLOCY_LAUNCHER", ":1"},     {"GALLOCY_LAUNCHER", "host:70000"},
      {"GALLOCY_TRANSPORT", "pipes"}, {"GALLOCY_ENCRYPT", "yes"},
      {"GALLOCY_JOIN_TIMEOUT", ""},   {"GALLOCY_SECRET_FD", "-1"},
      {"GALLOCY_SECRET_FD", "1000"},  {"GALLOCY_SECRET_FD", "0"}};
  for (const auto& [name, value] : wrong) EXPECT_THAT(error_with(name, value), HasSubstr(name)) << value;
}

TEST_F(LaunchEnvironment, a_file_that_is_not_the_secret_is_refused) {
  const int other = ::open("/proc/version", O_RDONLY);
  EXPECT_THAT(error_with("GALLOCY_SECRET_FD", fmt::format("{}", other).c_str()), HasSubstr("secret"));
  ::close(other);
}

TEST_F(LaunchEnvironment, settings_stand_alone) {
  set({{"GALLOCY_MEMORY", "2G"}, {"GALLOCY_FAULT_ENGINE", "sigsegv"}, {"GALLOCY_ON_PEER_LOST", "continue"}});
  const auto settings = settings_from_environment();
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->memory_bytes, std::uint64_t{2} << 30);
  EXPECT_EQ(settings->fault_engine, "sigsegv");
  EXPECT_EQ(settings->on_peer_lost, OnPeerLost::kContinue);
  set({{"GALLOCY_MEMORY", "lots"}});
  EXPECT_FALSE(settings_from_environment());
}

TEST(MemorySize, units) {
  EXPECT_EQ(parse_memory_size("4096").value(), 4096u);
  EXPECT_EQ(parse_memory_size("1k").value(), 1024u);
  EXPECT_EQ(parse_memory_size("512M").value(), std::uint64_t{512} << 20);
  EXPECT_EQ(parse_memory_size("4GiB").value(), std::uint64_t{4} << 30);
  EXPECT_EQ(parse_memory_size("1TB").value(), std::uint64_t{1} << 40);
  for (const char* wrong : {"", "M", "0", "-1", "1.5G", "4X", "4Gi", "4GBB", "99999999T", "1 G"}) {
    EXPECT_FALSE(parse_memory_size(wrong)) << wrong;
  }
}

}  // namespace
}  // namespace gallocy::net
