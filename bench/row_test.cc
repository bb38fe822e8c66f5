#include "row.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

namespace gallocy::bench {
namespace {

std::function<Result<Measured>()> sequence(std::vector<double> values, std::string digest = "") {
  return [values, digest, next = std::size_t{0}]() mutable -> Result<Measured> {
    return Measured{.value = values[next++ % values.size()], .digest = digest};
  };
}

nlohmann::json written(const std::vector<Row>& rows) {
  const std::string path = testing::TempDir() + "rows." + std::to_string(::getpid()) + ".json";
  EXPECT_TRUE(write_json(rows, path).has_value());
  auto json = nlohmann::json::parse(std::ifstream(path));
  std::remove(path.c_str());
  return json;
}

TEST(Row, ratio_is_that_of_the_medians) {
  const Row row = measure({.name = "r",
                           .unit = "us",
                           .goal = Goal::kAtMost,
                           .target = 1.6,
                           .ours = sequence({30, 10, 20}),
                           .reference = sequence({10, 1000, 5})},
                          3);
  EXPECT_EQ(row.ratio(), 2.0);
  EXPECT_FALSE(row.met());
  EXPECT_EQ(row.ours.least(), 10);
  EXPECT_EQ(row.ours.most(), 30);
}

TEST(Row, without_a_reference_the_ratio_is_the_figure) {
  const Row row = measure({.name = "r", .goal = Goal::kAtMost, .target = 100, .ours = sequence({80})}, 1);
  EXPECT_EQ(row.ratio(), 80);
  EXPECT_TRUE(row.met());
}

TEST(Row, different_digests_are_a_failure_whatever_the_speed) {
  const Row row = measure(
      {.name = "r", .goal = Goal::kAtLeast, .target = 0.1, .ours = sequence({1}, "a"), .reference = sequence({1}, "b")},
      1);
  EXPECT_FALSE(row.met());
  EXPECT_NE(row.wrong.find("digest a"), std::string::npos);
}

TEST(Row, a_failed_run_is_named_and_written) {
  const Row row = measure({.name = "r",
                           .goal = Goal::kReport,
                           .ours = []() -> Result<Measured> { return fail(ErrorCode::kTimeout, "too late"); }},
                          3);
  EXPECT_EQ(row.wrong, "too late");
  const auto json = written({row});
  EXPECT_TRUE(json[0]["ours"].is_null());
  EXPECT_EQ(json[0]["met"], false);
  EXPECT_EQ(json[0]["error"], "too late");
}

TEST(Row, json_has_the_fields_of_the_contract) {
  const Row row = measure({.name = "fault.read.tcp",
                           .unit = "us",
                           .goal = Goal::kAtMost,
                           .target = 1.6,
                           .bound = "the kernel",
                           .ours = sequence({30}),
                           .reference = sequence({20})},
                          2);
  EXPECT_EQ(written({row})[0]["name"], "fault.read.tcp");
  for (const char* field : {"name", "ours", "reference", "unit", "ratio", "target", "met", "runs", "bound"}) {
    EXPECT_TRUE(written({row})[0].contains(field)) << field;
  }
  EXPECT_EQ(written({row})[0]["ratio"], 1.5);
  EXPECT_EQ(written({row})[0]["runs"], 2);
}

TEST(Row, a_file_that_cannot_be_written_is_an_error) {
  const auto done = write_json({}, "/no/such/folder/rows.json");
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code, ErrorCode::kNoSpace);
}

TEST(Row, a_skipped_row_is_no_failure_and_says_why) {
  const Row row = measure({.name = "r", .goal = Goal::kAtLeast, .target = 1, .skip = "no java"}, 3);
  EXPECT_EQ(row.skipped, "no java");
  EXPECT_EQ(row.wrong, "");
  const auto json = written({row});
  EXPECT_EQ(json[0]["skipped"], "no java");
  EXPECT_TRUE(json[0]["ratio"].is_null());
  EXPECT_TRUE(json[0]["met"].is_null());
}

Row row_with_ratio(const std::string& name, double ratio) {
  return measure({.name = name, .ours = sequence({ratio}), .reference = sequence({1})}, 1);
}

TEST(Mean, is_geometric_over_the_measured_parts) {
  const Row skipped = measure({.name = "a.3", .skip = "not installed"}, 1);
  const std::vector<Row> rows = {row_with_ratio("a.1", 4), row_with_ratio("a.2", 1), skipped, row_with_ratio("b", 100)};
  EXPECT_DOUBLE_EQ(mean_of({.name = "a", .parts = "a."}, rows).ratio(), 2);
  EXPECT_NE(mean_of({.name = "c", .parts = "c."}, rows).skipped, "");
}

TEST(Mean, fails_with_a_part_that_failed) {
  Row failed = row_with_ratio("a.1", 1);
  failed.wrong = "killed";
  EXPECT_NE(mean_of({.name = "a", .parts = "a."}, {failed}).wrong, "");
}

}  // namespace
}  // namespace gallocy::bench
