#include "base/log.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/bounded_event.h"

namespace gallocy {
namespace {

std::vector<std::string> lines;

class LogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    lines.clear();
    set_log_writer([](std::string_view line) { lines.emplace_back(line); });
  }
  void TearDown() override {
    set_log_writer(nullptr);
    set_log_level(LogLevel::kInfo);
  }
};

TEST_F(LogTest, event_has_level_name_and_fields) {
  log_event(LogLevel::kWarn, "peer_down", "node", 3, "reason", "reset");
  EXPECT_EQ(lines, std::vector<std::string>{"gallocy: warn peer_down node=3 reason=reset"});
}

TEST_F(LogTest, text_with_blanks_or_control_characters_is_quoted) {
  log_event(LogLevel::kInfo, "x", "a", "two words", "b", "", "c", std::string("l\n\"\xff"));
  EXPECT_EQ(lines, std::vector<std::string>{R"(gallocy: info x a="two words" b="" c="l\x0a\x22\xff")"});
}

TEST_F(LogTest, events_below_the_level_are_dropped) {
  log_event(LogLevel::kDebug, "quiet");
  EXPECT_TRUE(lines.empty());
  set_log_level(LogLevel::kDebug);
  log_event(LogLevel::kDebug, "quiet");
  EXPECT_EQ(lines, std::vector<std::string>{"gallocy: debug quiet"});
}

TEST_F(LogTest, an_event_that_others_cause_fills_no_disk) {
  constexpr std::int64_t kMinuteNs = 60'000'000'000;
  BoundedEvent event(LogLevel::kWarn, "refused");
  for (int i = 0; i < 1'000; ++i) event.log(5 + i, "i", i);
  ASSERT_EQ(lines.size(), 101u);
  EXPECT_EQ(lines[99], "gallocy: warn refused i=99");
  EXPECT_EQ(lines[100], R"(gallocy: warn refused note="further ones of this minute are counted")");
  event.log(5 + kMinuteNs, "i", 1'000);
  ASSERT_EQ(lines.size(), 103u);
  EXPECT_EQ(lines[101], "gallocy: warn refused more=900");
  EXPECT_EQ(lines[102], "gallocy: warn refused i=1000");
}

}  // namespace
}  // namespace gallocy
