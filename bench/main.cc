// gallocy-bench [GROUP] [--json FILE] [--runs N] [--small] [--filter NAME]
//
// Measures the rows of a group, each beside its reference, prints a table and writes them as JSON. Exit status: 0 if
// every row was measured and every result was right (whether or not targets were met), 1 if not, 64 for bad arguments.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>

#include "core_rows.h"

namespace bench = gallocy::bench;

namespace {

struct Options {
  std::string group;
  std::string json;
  unsigned runs = 0;  // 0: 5, or 1 when small
  bool small = false;
  std::string filter;
};

std::optional<int> parse(int argc, char** argv, Options& options) {
  CLI::App app("Measures gallocy beside the floor of this machine.");
  app.add_option("group", options.group, "the group of rows; default: all groups")->check(CLI::IsMember({"core"}));
  app.add_option("--json", options.json, "write the rows to this file, as a JSON array");
  app.add_option("--runs", options.runs, "runs of each side; the table shows medians")->check(CLI::Range(1, 1000));
  app.add_flag("--small", options.small, "small sizes, one run: shows that everything works, not how fast");
  app.add_option("--filter", options.filter, "only the rows whose names contain this");
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    std::cerr << "gallocy-bench: " << error.what() << " (--help lists the flags)\n";
    return 64;
  }
}

std::vector<bench::Plan> core_plans(const bench::Programs& programs, bench::Scale scale) {
  std::vector<bench::Plan> plans;
  for (const auto& part : {bench::memory_plans, bench::sync_plans, bench::heap_plans, bench::program_plans}) {
    for (auto& plan : part(programs, scale)) plans.push_back(std::move(plan));
  }
  return plans;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (const auto status = parse(argc, argv, options)) return *status;
  if (options.runs == 0) options.runs = options.small ? 1 : 5;
  const auto programs = bench::Programs::beside(std::filesystem::read_symlink("/proc/self/exe"));

  constexpr std::string_view kMean = "local.examples";
  const bool with_mean = kMean.find(options.filter) != std::string_view::npos;
  std::vector<bench::Row> rows;
  bench::print_heading();
  for (const auto& plan : core_plans(programs, options.small ? bench::Scale::kSmall : bench::Scale::kReal)) {
    const bool part_of_mean = with_mean && plan.name.starts_with(bench::kLocalPrefix);
    if (!part_of_mean && plan.name.find(options.filter) == std::string::npos) continue;
    rows.push_back(bench::measure(plan, options.runs));
    bench::print(rows.back());
  }
  if (with_mean) {
    rows.push_back(bench::local_examples(rows));
    bench::print(rows.back());
  }
  if (rows.empty()) {
    std::cerr << "gallocy-bench: no row's name contains '" << options.filter << "'\n";
    return 64;
  }
  if (!options.json.empty()) {
    if (const auto written = bench::write_json(rows, options.json); !written) {
      std::cerr << "gallocy-bench: " << written.error().message << '\n';
      return exit_status(written.error());
    }
  }
  return std::all_of(rows.begin(), rows.end(), [](const auto& row) { return row.wrong.empty(); }) ? 0 : 1;
}
