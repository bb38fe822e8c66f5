#include "child.h"

#include <gtest/gtest.h>

namespace gallocy::bench {
namespace {

Result<ChildOutput> shell(const std::string& script, std::map<std::string, std::string> settings = {},
                          std::chrono::seconds timeout = std::chrono::seconds(20)) {
  return run_child({"/bin/sh", "-c", script}, settings, timeout);
}

TEST(Child, gives_back_the_last_value_of_a_name) {
  const auto output = shell("echo time=1 digest=00ff; echo xtime=3; echo time=2.5 digest=ab; printf end=7");
  ASSERT_TRUE(output.has_value()) << output.error().message;
  EXPECT_EQ(*output->number("time"), 2.5);
  EXPECT_EQ(output->value("digest"), "ab");
  EXPECT_EQ(*output->number("end"), 7);
  EXPECT_EQ(output->value("nothing"), std::nullopt);
  EXPECT_FALSE(output->number("nothing").has_value());
}

TEST(Child, settings_replace_those_of_the_environment) {
  const auto output = shell("echo path=$PATH new=$GALLOCY_SPIN_US", {{"PATH", "/here"}, {"GALLOCY_SPIN_US", "0"}});
  ASSERT_TRUE(output.has_value()) << output.error().message;
  EXPECT_EQ(output->value("path"), "/here");
  EXPECT_EQ(output->value("new"), "0");
}

TEST(Child, failure_gives_the_status_and_the_last_line_of_its_complaint) {
  const auto output = shell("echo first >&2; echo second >&2; exit 3");
  ASSERT_FALSE(output.has_value());
  EXPECT_NE(output.error().message.find("status 3: second"), std::string::npos) << output.error().message;
}

TEST(Child, output_larger_than_a_pipe_is_read_while_it_runs) {
  const auto output = shell("head -c 1000000 /dev/zero | tr '\\0' x; head -c 1000000 /dev/zero >&2");
  ASSERT_TRUE(output.has_value()) << output.error().message;
  EXPECT_EQ(output->text.size(), 1'000'000u);
}

TEST(Child, one_that_hangs_is_ended_with_what_it_started) {
  const auto output = shell("sleep 1000 & sleep 1000", {}, std::chrono::seconds(1));
  ASSERT_FALSE(output.has_value());
  EXPECT_EQ(output.error().code, ErrorCode::kTimeout);
}

TEST(Child, a_program_that_does_not_exist_is_an_error) { EXPECT_FALSE(run_child({"/no/such/program"}).has_value()); }

}  // namespace
}  // namespace gallocy::bench
