// Rows that run whole programs: the empty one, and the examples beside their twins on ordinary memory and in MPI.
#include <unistd.h>

#include "child.h"
#include "core_rows.h"

namespace gallocy::bench {

using gallocy::Result;

namespace {

using Words = std::vector<std::string>;

// An example with arguments, and the work of its computing part in some unit, so that the figure is a speed.
struct Example {
  std::string name;
  Words small, real;
  double small_work = 1, real_work = 1;
  std::string unit = "runs/s";
};

Words joined(Words first, const Words& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

// The speed by the `time=` that the program prints.
Result<Measured> speed_of(const Words& command, double work) {
  const auto output = run_child(command);
  if (!output) return tl::unexpected(output.error());
  const auto seconds = output->number("time");
  if (!seconds) return tl::unexpected(seconds.error());
  return Measured{.value = work / *seconds, .digest = output->value("digest").value_or("none")};
}

class Runner {
 public:
  Runner(const Programs& programs, Scale scale) : programs_(programs), scale_(scale) {}

  auto plain(const Example& example, unsigned threads) const {
    return run(joined({path(example), "--plain", std::to_string(threads)}, arguments(example)), example);
  }
  auto cluster(const Example& example, unsigned nodes, const std::string& transport) const {
    return run(joined({programs_.gallocy, "launch", "-n", std::to_string(nodes), "--transport", transport, "--",
                       path(example)},
                      arguments(example)),
               example);
  }
  auto mpi(const Example& example, const std::filesystem::path& mpirun) const {
    return run(
        joined({mpirun, "--allow-run-as-root", "--oversubscribe", "-n", "2", programs_.bench / (example.name + "_mpi")},
               arguments(example)),
        example);
  }

 private:
  std::string path(const Example& example) const { return programs_.examples / example.name; }
  const Words& arguments(const Example& example) const {
    return scale_ == Scale::kSmall ? example.small : example.real;
  }
  std::function<Result<Measured>()> run(Words command, const Example& example) const {
    const double work = scale_ == Scale::kSmall ? example.small_work : example.real_work;
    return [command = std::move(command), work] { return speed_of(command, work); };
  }

  const Programs& programs_;
  Scale scale_;
};

const Example kSor{"sor",
                   {"--size", "128", "--iterations", "5"},
                   {"--size", "2048", "--iterations", "20"},
                   128 * 128 * 5e-6,
                   2048 * 2048 * 20e-6,
                   "Mpoints/s"};
const Example kMatmul{
    "matmul", {"--size", "128"}, {"--size", "1024"}, 2e-9 * 128 * 128 * 128, 2e-9 * 1024 * 1024 * 1024, "GFLOP/s"};
const Example kKmeans{"kmeans",
                      {"--points", "5000", "--clusters", "8", "--rounds", "3"},
                      {"--points", "500000", "--clusters", "16", "--rounds", "10"},
                      5000 * 3e-6,
                      500000 * 10e-6,
                      "Mpoints/s"};
// Large enough that the computing part takes tenths of a second.
const std::vector<Example> kAll = {
    {"ring", {}, {"--links", "1048576", "--swaps", "5000000", "--batch", "256"}},
    {"matmul", kMatmul.small, kMatmul.real},
    {"sor", kSor.small, {"--size", "2048", "--iterations", "40"}},
    {"wordcount", {"/usr/share/common-licenses"}, {"/usr/share/common-licenses", "/usr/share/perl"}},
    {"kmeans", kKmeans.small, kKmeans.real},
    {"tsp", {"--cities", "9"}, {"--cities", "20"}},
    {"quicksort", {}, {"--count", "4000000"}},
};

std::filesystem::path find_mpirun() {
  for (const char* path : {"/usr/bin/mpirun", "/usr/local/bin/mpirun"}) {
    if (::access(path, X_OK) == 0) return path;
  }
  return {};
}

}  // namespace

std::vector<Plan> program_plans(const Programs& programs, Scale scale) {
  const Runner runner(programs, scale);
  std::vector<Plan> plans;
  plans.push_back(
      {"start.4", "ms", Goal::kAtMost, 100,
       "Starting four processes and connecting six pairs of nodes, each with its handshake.",
       [&programs]() -> Result<Measured> {
         const auto output = run_child({programs.gallocy, "launch", "-n", "4", "--", programs.core_node, "empty"});
         if (!output) return tl::unexpected(output.error());
         return Measured{.value = output->seconds * 1000};
       },
       nullptr});
  for (const Example& example : kAll) {
    plans.push_back(
        {"local." + example.name, example.unit, Goal::kReport, 0,
         "One node against ordinary memory, the computing part; the row local.examples has the mean of these.",
         runner.cluster(example, 1, "tcp"), runner.plain(example, 1)});
  }
  plans.push_back({"sor.2", kSor.unit, Goal::kReport, 0,
                   "The seam rows: after each half-step four pages go over in each direction, by a fault each.",
                   runner.cluster(kSor, 2, "tcp"), runner.plain(kSor, 2)});
  plans.push_back({"sor.2.shm", kSor.unit, Goal::kReport, 0, "The same over shared memory.",
                   runner.cluster(kSor, 2, "shm"), runner.plain(kSor, 2)});
  plans.push_back({"matmul.2", kMatmul.unit, Goal::kReport, 0,
                   "Half of B is fetched once, as a stream with a stride; after that only arithmetic.",
                   runner.cluster(kMatmul, 2, "tcp"), runner.plain(kMatmul, 2)});
  plans.push_back({"kmeans.2", kKmeans.unit, Goal::kReport, 0,
                   "Two barriers and three pages per round; otherwise arithmetic.", runner.cluster(kKmeans, 2, "tcp"),
                   runner.plain(kKmeans, 2)});
  const auto mpirun = find_mpirun();
  if (!mpirun.empty() && std::filesystem::exists(programs.bench / "sor_mpi")) {
    plans.push_back({"sor.2.mpi", kSor.unit, Goal::kReport, 0,
                     "Open MPI's exchange of seam rows through shared memory, against our faults over TCP.",
                     runner.cluster(kSor, 2, "tcp"), runner.mpi(kSor, mpirun)});
    plans.push_back({"matmul.2.mpi", kMatmul.unit, Goal::kReport, 0,
                     "Open MPI's allgather of B, against our faults over TCP.", runner.cluster(kMatmul, 2, "tcp"),
                     runner.mpi(kMatmul, mpirun)});
  }
  return plans;
}

}  // namespace gallocy::bench
