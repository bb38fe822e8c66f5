// The same red-black over-relaxation as examples/sor.h, written by hand for MPI: each rank keeps its band of rows and
// one row of each neighbour, which it exchanges after every half-step. Prints the same digest.
#include <mpi.h>

#include <cstdio>
#include <cstdlib>
#include <span>
#include <vector>

#include "mpi/mpi_example.h"
#include "sor.h"

namespace bench = gallocy::bench;

namespace {

void exchange_seams(std::vector<double>& band, std::size_t n, std::size_t rows, int rank, int ranks) {
  const int width = static_cast<int>(n), above = rank == 0 ? MPI_PROC_NULL : rank - 1;
  const int below = rank == ranks - 1 ? MPI_PROC_NULL : rank + 1;
  MPI_Sendrecv(&band[n], width, MPI_DOUBLE, above, 0, &band[(rows + 1) * n], width, MPI_DOUBLE, below, 0,
               MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  MPI_Sendrecv(&band[rows * n], width, MPI_DOUBLE, below, 1, &band[0], width, MPI_DOUBLE, above, 1, MPI_COMM_WORLD,
               MPI_STATUS_IGNORE);
}

}  // namespace

int main(int argc, char** argv) {
  bench::MpiRun run(argc, argv);
  const std::size_t n = bench::flag(argc, argv, "--size"), iterations = bench::flag(argc, argv, "--iterations");
  const auto [begin, end] = gallocy::share(n, static_cast<unsigned>(run.rank), static_cast<unsigned>(run.ranks));
  const std::size_t rows = end - begin;
  std::vector<double> band((rows + 2) * n);  // row 0 and row rows + 1 are the neighbours'
  if (run.rank == 0) {
    for (std::size_t j = 0; j < n; ++j) band[n + j] = example::edge_temperature(j, n);
  }
  exchange_seams(band, n, rows, run.rank, run.ranks);

  const double seconds = run.seconds_of([&, begin = begin, end = end] {
    for (std::size_t iteration = 0; iteration < iterations; ++iteration) {
      for (std::size_t colour = 0; colour < 2; ++colour) {
        for (std::size_t i = std::max<std::size_t>(begin, 1); i < std::min(end, n - 1); ++i) {
          example::relax_row(&band[(i - begin + 1) * n], n, 1 + (i + colour) % 2);
        }
        exchange_seams(band, n, rows, run.rank, run.ranks);
      }
    }
  });

  const auto grid = run.gather_rows(std::span<const double>(band).subspan(n, rows * n), n);
  run.print(seconds, grid);
  return 0;
}
