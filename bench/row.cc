#include "row.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

namespace gallocy::bench {

double Series::median() const {
  if (values.empty()) return 0;
  auto sorted = values;
  std::sort(sorted.begin(), sorted.end());
  const auto middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

double Series::least() const { return values.empty() ? 0 : *std::min_element(values.begin(), values.end()); }
double Series::most() const { return values.empty() ? 0 : *std::max_element(values.begin(), values.end()); }

bool Row::met() const {
  if (!wrong.empty() || ours.values.empty()) return false;
  switch (goal) {
    case Goal::kAtMost:
      return ratio() <= target;
    case Goal::kAtLeast:
      return ratio() >= target;
    case Goal::kReport:
      return true;
  }
  return false;
}

Row measure(const Plan& plan, unsigned runs) {
  Row row{.name = plan.name, .unit = plan.unit, .bound = plan.bound, .goal = plan.goal, .target = plan.target};
  row.skipped = plan.skip;
  for (unsigned run = 0; run < runs && row.skipped.empty(); ++run) {
    const auto reference = plan.reference ? plan.reference() : gallocy::Result<Measured>(Measured{.value = 1});
    const auto ours = plan.ours();
    if (!reference || !ours) {
      row.wrong = !ours ? ours.error().message : "reference: " + reference.error().message;
      return row;
    }
    row.reference.values.push_back(reference->value);
    row.ours.values.push_back(ours->value);
    if (plan.reference && ours->digest != reference->digest) {
      row.wrong = fmt::format("digest {} instead of the reference's {}", ours->digest, reference->digest);
      return row;
    }
  }
  return row;
}

Row mean_of(const Mean& mean, const std::vector<Row>& rows) {
  Row row{.name = mean.name, .unit = "speed", .bound = mean.bound, .goal = mean.goal, .target = mean.target};
  double logarithms = 0;
  std::size_t count = 0;
  for (const Row& part : rows) {
    if (!part.name.starts_with(mean.parts) || !part.skipped.empty()) continue;
    if (!part.wrong.empty()) {
      row.wrong = part.name + " failed";
      return row;
    }
    logarithms += std::log(part.ratio());
    ++count;
  }
  if (count == 0) {
    row.skipped = "none of its rows was measured";
    return row;
  }
  row.ours.values.push_back(std::exp(logarithms / static_cast<double>(count)));
  row.reference.values.push_back(1);
  return row;
}

namespace {

// Four significant digits, without an exponent.
std::string short_number(double value) {
  const double size = value < 0 ? -value : value;
  return fmt::format("{:.{}f}", value, size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4);
}

std::string with_spread(const Series& series) {
  if (series.values.size() < 2 || series.least() == series.most()) return short_number(series.median());
  return fmt::format("{} ({}..{})", short_number(series.median()), short_number(series.least()),
                     short_number(series.most()));
}

std::string target_of(const Row& row) {
  if (row.goal == Goal::kReport) return "report";
  return fmt::format("{} {}", row.goal == Goal::kAtMost ? "<=" : ">=", short_number(row.target));
}

}  // namespace

void print_heading() {
  fmt::print("{:<26} {:>26} {:>26} {:<14} {:>8} {:>9}  {}\n", "row", "ours", "reference", "unit", "ratio", "target",
             "met");
}

void print(const Row& row) {
  if (!row.wrong.empty()) {
    fmt::print("{:<26} FAILED: {}\n", row.name, row.wrong);
  } else if (!row.skipped.empty()) {
    fmt::print("{:<26} skipped: {}\n", row.name, row.skipped);
  } else {
    fmt::print("{:<26} {:>26} {:>26} {:<14} {:>8} {:>9}  {}\n", row.name, with_spread(row.ours),
               with_spread(row.reference), row.unit, short_number(row.ratio()), target_of(row),
               row.goal == Goal::kReport ? ""
               : row.met()               ? "yes"
                                         : "NO");
    fmt::print("    {}\n", row.bound);
  }
  std::fflush(stdout);
}

gallocy::Result<> write_json(const std::vector<Row>& rows, const std::string& path) {
  auto array = nlohmann::ordered_json::array();
  for (const auto& row : rows) {
    nlohmann::ordered_json entry;
    const bool measured = row.wrong.empty() && !row.ours.values.empty();
    const auto number = [measured](double value) { return measured ? nlohmann::ordered_json(value) : nullptr; };
    entry["name"] = row.name;
    entry["ours"] = number(row.ours.median());
    entry["reference"] = number(row.reference.median());
    entry["unit"] = row.unit;
    entry["ratio"] = number(row.ratio());
    entry["target"] = nullptr;  // a row that only reports has no target, and meets or misses none
    entry["met"] = nullptr;
    if (row.goal != Goal::kReport) entry["target"] = row.target;
    if (row.skipped.empty() && (row.goal != Goal::kReport || !measured)) entry["met"] = row.met();
    entry["runs"] = row.ours.values.size();
    entry["bound"] = row.bound;
    entry["goal"] = row.goal == Goal::kReport ? "report" : row.goal == Goal::kAtMost ? "at most" : "at least";
    entry["ours_runs"] = row.ours.values;
    entry["reference_runs"] = row.reference.values;
    if (!row.wrong.empty()) entry["error"] = row.wrong;
    if (!row.skipped.empty()) entry["skipped"] = row.skipped;
    array.push_back(std::move(entry));
  }
  std::ofstream file(path);
  file << array.dump(2) << '\n';
  file.close();
  if (!file)
    return gallocy::fail(gallocy::ErrorCode::kNoSpace, fmt::format("cannot write {}: {}", path, std::strerror(errno)));
  return {};
}

}  // namespace gallocy::bench
