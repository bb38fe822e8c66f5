// demo: what `./project demo` runs on four nodes. Two jobs on real input, each compared with the same program on
// ordinary memory, and then a look at what the memory did: where pages live, what faulted, what travelled.
//
//   gallocy launch -n 4 -- demo /usr/share/common-licenses /usr/share/perl
//
// The jobs are those of ../wordcount.h and ../sor.h; show.h draws.
#include "show.h"

namespace {

struct Options {
  std::vector<std::string> paths;
  example::SorOptions plate{.size = 512, .iterations = 300};
};

using demo::NodeFigures;
using Team = example::ClusterTeam;

// What this node knows about itself; every node fills its entry of a shared array, and node 0 prints them.
NodeFigures figures_of(gallocy::Node& node, std::span<const double> plate) {
  NodeFigures figures;
  figures.statistics = node.statistics();
  const auto* bytes = reinterpret_cast<const std::byte*>(plate.data());
  for (std::size_t at = 0; at < plate.size_bytes(); at += example::kPageBytes) {
    figures.plate_homes += node.home_of(bytes + at) == node.id() ? 1 : 0;
  }
  const std::string report = node.sharing_report(demo::kReportLines);
  report.copy(figures.report, sizeof figures.report - 1);
  return figures;
}

int demonstrate(gallocy::Node& node, const Options& options) {
  Team team(node);
  const bool speaker = node.id() == 0;
  if (speaker) demo::title(node.count());

  const auto words = example::count_words(team, options.paths);
  if (speaker) demo::show_words(options.paths, words);
  const auto heat = example::solve_sor(team, options.plate);
  if (speaker) demo::show_plate(options.plate, heat);

  auto figures = example::shared<NodeFigures>(team, "demo.figures", team.count());
  const NodeFigures mine = figures_of(node, heat.grid);
  team.barrier();  // all have read their counters before anything else moves
  figures[node.id()] = mine;
  team.barrier();
  if (!speaker) return 0;

  demo::show_memory(figures);
  const auto plain_words =
      example::run_on_threads(1, [&](auto& plain) { return example::count_words(plain, options.paths); });
  const auto plain_heat = example::run_on_threads(
      1, [&](auto& plain) -> example::Outcome { return example::solve_sor(plain, options.plate); });
  const bool words_right = demo::compare("word count", words, plain_words);
  const bool heat_right = demo::compare("heat", heat, plain_heat);
  return words_right && heat_right ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  example::CommandLine line(
      "Counts words and heats a plate on all nodes, checks the results, and shows what the memory did.");
  line.add_paths(options.paths,
                 "files and directories (default: licences, Perl's library and the documentation in /usr/share)");
  line.add("--size", options.plate.size, 64, 1 << 15, "points per side of the plate");
  line.add("--iterations", options.plate.iterations, 1, 1 << 20, "sweeps over the plate");
  if (const auto status = line.parse(argc, argv)) return *status;
  if (options.paths.empty()) options.paths = {"/usr/share/common-licenses", "/usr/share/doc", "/usr/share/perl"};

  auto node = gallocy::Node::join();
  if (!node) return gallocy::report(node.error());
  return demonstrate(**node, options);
}
