#include "status_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gallocy::command {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

TEST(StatusTable, shows_nodes_and_regions) {
  const json report = json::parse(R"({
    "cluster": {"epoch": 4, "members": [], "regions": [
      {"id": 1, "name": "grid", "bytes": 3145728, "placement": "first touch", "homes": {"0": 3, "2": 9}}]},
    "nodes": [
      {"node": 0, "address": "10.0.0.1:7000", "pid": 1, "logs": [{"role": "leader", "applied": 20}],
       "memory": {"budget": 4294967296, "used": 2097152, "durable": 1048576, "homes": 8}},
      {"node": 2, "address": "10.0.0.2:7000", "pid": 1, "logs": [{"role": "learner", "applied": 17}],
       "memory": {"budget": 1073741824, "used": 0, "durable": 0, "homes": 0}},
      {"node": 3, "address": "10.0.0.3:7000", "silent": "it was cut off"}]})");
  const std::string table = status_table(report);
  EXPECT_THAT(table, HasSubstr("3 nodes, 1 regions, epoch 4\n"));
  EXPECT_THAT(table,
              HasSubstr("    0  10.0.0.1:7000          leader      0     3.0 MiB of   4.0 GiB    1.0 MiB        8\n"));
  EXPECT_THAT(table,
              HasSubstr("    2  10.0.0.2:7000          learner     3         0 B of   1.0 GiB        0 B        0\n"));
  EXPECT_THAT(table, HasSubstr("    3  10.0.0.3:7000          no answer: it was cut off\n"));
  EXPECT_THAT(table, HasSubstr("grid                        3.0 MiB  first touch  0: 3, 2: 9\n"));
}

TEST(StatusTable, shows_the_log_of_each_shard) {
  const json report = json::parse(R"({
    "cluster": {"epoch": 4, "members": [], "regions": []},
    "nodes": [
      {"node": 0, "address": "10.0.0.1:7000", "pid": 1,
       "logs": [{"role": "leader", "applied": 20}, {"role": "voter", "applied": 4}],
       "memory": {"budget": 4294967296, "used": 2097152, "durable": 1048576, "homes": 8}},
      {"node": 1, "address": "10.0.0.2:7000", "pid": 1,
       "logs": [{"role": "voter", "applied": 18}, {"role": "leader", "applied": 9}],
       "memory": {"budget": 1073741824, "used": 0, "durable": 0, "homes": 0}}]})");
  const std::string table = status_table(report);
  EXPECT_THAT(
      table,
      HasSubstr("    0  10.0.0.1:7000          leader,voter    5     3.0 MiB of   4.0 GiB    1.0 MiB        8\n"));
  EXPECT_THAT(
      table,
      HasSubstr("    1  10.0.0.2:7000          voter,leader    2         0 B of   1.0 GiB        0 B        0\n"));
}

TEST(StatusTable, an_odd_report_is_an_exception) {
  EXPECT_THROW((void)status_table(json::parse("{}")), json::exception);
}

}  // namespace
}  // namespace gallocy::command
