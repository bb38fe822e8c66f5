// gallocy-bench [GROUP] [--json FILE] [--runs N] [--small] [--filter NAME] [--splash3 DIR] [--phoenix DIR]
//
// Measures the rows of a group, each beside its reference, prints a table and writes them as JSON. Exit status: 0 if
// every row was measured and every result was right (whether or not targets were met), 1 if not, 64 for bad arguments.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>

#include "core_rows.h"
#include "durable_rows.h"
#include "log_rows.h"
#include "run_rows.h"

namespace bench = gallocy::bench;

namespace {

struct Options {
  std::string group;
  std::string json;
  unsigned runs = 0;  // 0: 5, or 1 when small
  bool small = false;
  std::string filter;
  bench::BuiltPrograms built;

  bool has(std::string_view name) const { return group.empty() || group == name; }
  bool wants(const std::string& row) const { return row.find(filter) != std::string::npos; }
};

std::optional<int> parse(int argc, char** argv, Options& options) {
  CLI::App app("Measures gallocy beside the floor of this machine.");
  app.add_option("group", options.group, "the group of rows; default: all groups")
      ->check(CLI::IsMember({"core", "log", "durable", "run"}));
  app.add_option("--json", options.json, "write the rows to this file, as a JSON array");
  app.add_option("--runs", options.runs, "runs of each side; the table shows medians")->check(CLI::Range(1, 1000));
  app.add_flag("--small", options.small, "small sizes, one run: shows that everything works, not how fast");
  app.add_option("--filter", options.filter, "only the rows whose names contain this");
  app.add_option("--splash3", options.built.splash3, "group run: the folder `codes` of Splash-3, with built programs")
      ->check(CLI::ExistingDirectory);
  app.add_option("--phoenix", options.built.phoenix, "group run: the folder phoenix-2.0, with built *-pthread programs")
      ->check(CLI::ExistingDirectory);
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    std::cerr << "gallocy-bench: " << error.what() << " (--help lists the flags)\n";
    return 64;
  }
}

void append(std::vector<bench::Plan>& all, std::vector<bench::Plan> more) {
  for (auto& plan : more) all.push_back(std::move(plan));
}

std::vector<bench::Plan> plans_for(const Options& options, const bench::Programs& programs) {
  const auto scale = options.small ? bench::Scale::kSmall : bench::Scale::kReal;
  std::vector<bench::Plan> plans;
  if (options.has("core")) {
    for (const auto& part : {bench::memory_plans, bench::sync_plans, bench::heap_plans, bench::program_plans}) {
      append(plans, part(programs, scale));
    }
  }
  if (options.has("log")) append(plans, bench::log_plans(programs, scale));
  if (options.has("durable")) append(plans, bench::durable_plans(programs, scale));
  if (options.has("run")) append(plans, bench::run_plans(programs, scale, options.built));
  return plans;
}

std::vector<bench::Mean> means_for(const Options& options) {
  std::vector<bench::Mean> means;
  if (options.has("core")) means = bench::core_means();
  if (options.has("run")) {
    for (auto& mean : bench::run_means()) means.push_back(std::move(mean));
  }
  std::erase_if(means, [&options](const auto& mean) { return !options.wants(mean.name); });
  return means;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (const auto status = parse(argc, argv, options)) return *status;
  if (options.runs == 0) options.runs = options.small ? 1 : 5;
  const auto programs = bench::Programs::beside(std::filesystem::read_symlink("/proc/self/exe"));

  const auto means = means_for(options);
  std::vector<bench::Row> rows;
  bench::print_heading();
  for (const auto& plan : plans_for(options, programs)) {
    const bool part_of_mean = std::any_of(means.begin(), means.end(),
                                          [&plan](const auto& mean) { return plan.name.starts_with(mean.parts); });
    if (!part_of_mean && !options.wants(plan.name)) continue;
    rows.push_back(bench::measure(plan, options.runs));
    bench::print(rows.back());
  }
  for (const auto& mean : means) {
    rows.push_back(bench::mean_of(mean, rows));
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
