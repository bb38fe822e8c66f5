#include "stat_table.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "run_record.h"

namespace gallocy::command {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(FormatCounter, by_the_name_of_the_counter) {
  EXPECT_EQ(format_counter("read_faults", 0), "0");
  EXPECT_EQ(format_counter("read_faults", 999), "999");
  EXPECT_EQ(format_counter("read_faults", 1234567), "1 234 567");
  EXPECT_EQ(format_counter("resident_bytes", 1536), "1.5 KiB");
  EXPECT_EQ(format_counter("bytes_sent", 3 << 20), "3.0 MiB");
  EXPECT_EQ(format_counter("fault_wait_ns", 3'400'000), "3.4 ms");
}

TEST(StatTable, shows_nodes_sums_and_shared_pages) {
  RunRecord record("run-1", {"prog", "arg\xff"}, 2, "shm");
  record.started(NodeId{0}, "here", 11);
  record.started(NodeId{1}, "there", 12);
  record.exited(NodeId{1}, "exited with status 0");
  record.statistics(NodeId{0}, R"({"counters": {"read_faults": 1000, "odd": "x"}, "sharing": ["page 7 of grid"]})");
  record.statistics(NodeId{1}, R"({"counters": {"read_faults": 2000}})");
  const auto text = stat_table(nlohmann::json::parse(record.text()));
  EXPECT_THAT(text, HasSubstr("run-1"));
  EXPECT_THAT(text, HasSubstr("there (pid 12)"));
  EXPECT_THAT(text, testing::ContainsRegex("read faults +1 000 +2 000 +3 000"));
  EXPECT_THAT(text, HasSubstr("node 0: page 7 of grid"));
  EXPECT_THAT(text, Not(HasSubstr("odd")));
}

TEST(StatTable, what_nodes_send_may_be_anything) {
  for (const char* text :
       {"", "null", "[]", "{\"counters\": 3}", "{\"counters\": {\"a\": []}, \"sharing\": {}}", "{{"}) {
    RunRecord record("run", {"prog"}, 1, "tcp");
    record.statistics(NodeId{0}, text);
    EXPECT_THAT(stat_table(nlohmann::json::parse(record.text())), HasSubstr("no counters")) << text;
  }
}

TEST(StatTable, many_nodes_are_summed_up) {
  RunRecord record("run", {"prog"}, 100, "tcp");
  for (std::uint16_t node = 0; node < 100; ++node) {
    record.statistics(NodeId{node}, "{\"counters\": {\"faults\": " + std::to_string(node) + "}}");
  }
  EXPECT_THAT(stat_table(nlohmann::json::parse(record.text())), testing::ContainsRegex("faults +0 +99 +4 950"));
}

}  // namespace
}  // namespace gallocy::command
