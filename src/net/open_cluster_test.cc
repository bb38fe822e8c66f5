#include "net/open_cluster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace gallocy::net {
namespace {

using ::testing::HasSubstr;

class OpenClusterTest : public ::testing::Test {
 protected:
  OpenClusterTest() {
    for (const char* name : {"GALLOCY_JOIN", "GALLOCY_LISTEN", "GALLOCY_SECRET_FILE", "GALLOCY_INSECURE_NETWORK"})
      ::unsetenv(name);
    char name[] = "/tmp/gallocy-secret-XXXXXX";
    directory_ = ::mkdtemp(name);
  }
  ~OpenClusterTest() override { std::filesystem::remove_all(directory_); }

  std::string secret(std::string_view text, unsigned mode = 0600) {
    const std::string path = directory_ + "/secret";
    std::ofstream(path) << text;
    ::chmod(path.c_str(), mode);
    return path;
  }
  std::string good_ = "0123456789abcdef";
  std::string directory_;
};

TEST_F(OpenClusterTest, addresses_are_host_and_port) {
  const auto plain = parse_address("it", "host.example:7000");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->host, "host.example");
  EXPECT_EQ(plain->port, 7000);
  EXPECT_EQ(to_string(*plain), "host.example:7000");
  const auto v6 = parse_address("it", "[fe80::1]:1");
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->host, "fe80::1");
  EXPECT_EQ(to_string(*v6), "[fe80::1]:1");
  for (const char* wrong :
       {"", ":", "host", "host:", ":1", "host:x", "host:65536", "host:-1", "fe80::1:1", "[]:1", "[[]]:1", "a]:1"}) {
    const auto address = parse_address("the address", wrong);
    ASSERT_FALSE(address) << wrong;
    EXPECT_EQ(address.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(address.error().message, HasSubstr("the address"));
  }
}

TEST_F(OpenClusterTest, nothing_given_is_no_open_cluster) {
  const auto cluster = open_cluster({});
  ASSERT_TRUE(cluster);
  EXPECT_FALSE(*cluster);
}

TEST_F(OpenClusterTest, the_environment_fills_what_is_missing) {
  ::setenv("GALLOCY_JOIN", "192.0.2.1:7000", 1);
  ::setenv("GALLOCY_SECRET_FILE", secret(good_ + "\n").c_str(), 1);
  const auto cluster = open_cluster({});
  ASSERT_TRUE(cluster && *cluster) << cluster.error().message;
  EXPECT_EQ((*cluster)->contact->host, "192.0.2.1");
  EXPECT_EQ((*cluster)->secret, good_);
  EXPECT_TRUE((*cluster)->encrypt);
  ::setenv("GALLOCY_INSECURE_NETWORK", "1", 1);
  EXPECT_FALSE((*open_cluster({}))->encrypt);
}

TEST_F(OpenClusterTest, loopback_is_not_encrypted) {
  for (const char* host : {"127.0.0.1:0", "127.3.0.1:1", "[::1]:1"}) {
    const auto cluster = open_cluster({.listen = host, .secret_file = secret(good_)});
    ASSERT_TRUE(cluster && *cluster) << cluster.error().message;
    EXPECT_FALSE((*cluster)->encrypt) << host;
  }
  EXPECT_TRUE((*open_cluster({.listen = "0.0.0.0:1", .secret_file = secret(good_)}))->encrypt);
}

TEST_F(OpenClusterTest, a_secret_that_others_can_read_is_refused) {
  for (const unsigned mode : {0640u, 0604u, 0660u, 0777u}) {
    const auto cluster = open_cluster({.listen = "127.0.0.1:1", .secret_file = secret(good_, mode)});
    ASSERT_FALSE(cluster);
    EXPECT_EQ(cluster.error().code, ErrorCode::kNotPermitted);
    EXPECT_THAT(cluster.error().message, HasSubstr("chmod 600"));
  }
}

TEST_F(OpenClusterTest, a_missing_or_odd_secret_is_named) {
  EXPECT_EQ(open_cluster({.listen = "127.0.0.1:1"}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(read_secret_file(directory_ + "/none").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(read_secret_file(secret("short")).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(read_secret_file(secret(std::string(257, 'x'))).error().code, ErrorCode::kInvalidArgument);
  EXPECT_TRUE(read_secret_file(secret(std::string(256, 'x') + "\n")));
}

}  // namespace
}  // namespace gallocy::net
