// sor: the heat equation by red-black successive over-relaxation (sor.h has the computation).
//
//   gallocy launch -n 2 -- sor --size 2048 --iterations 20
//
// Shows: shared<T> with blocked placement, and Node::barrier between the steps of a computation.
#include "sor.h"

#include <cstdio>
#include <numeric>

int main(int argc, char** argv) {
  example::SorOptions options;
  example::CommandLine line("Solves the heat equation on a square plate by red-black successive over-relaxation.");
  line.add("--size", options.size, 3, 1 << 18, "points per side");
  line.add("--iterations", options.iterations, 1, 1 << 30, "sweeps over the plate");
  return example::run(line, argc, argv, [&](auto& team) -> example::Outcome {
    const auto result = example::solve_sor(team, options);
    if (team.id() == 0) {
      const std::size_t n = options.size;
      const double sum = std::accumulate(result.grid.begin(), result.grid.end(), 0.0);
      std::printf("%zu x %zu, %zu iterations on %u workers: mean temperature %.9f\n", n, n, options.iterations,
                  team.count(), sum / static_cast<double>(n * n));
    }
    return result;
  });
}
