// The same product as examples/matmul.cc, written by hand for MPI: each rank makes its band of A and B, all gather the
// whole of B, and each computes its band of C. Prints the same digest.
#include <mpi.h>

#include <vector>

#include "matmul.h"
#include "mpi/mpi_example.h"

namespace bench = gallocy::bench;

int main(int argc, char** argv) {
  bench::MpiRun run(argc, argv);
  const std::size_t n = bench::flag(argc, argv, "--size");
  const auto [begin, end] = gallocy::share(n, static_cast<unsigned>(run.rank), static_cast<unsigned>(run.ranks));
  const std::size_t rows = end - begin;
  std::vector<double> a(rows * n), b_band(rows * n), c(rows * n), b;
  for (std::size_t i = 0; i < rows * n; ++i) {
    a[i] = example::matrix_element(1, begin * n + i);
    b_band[i] = example::matrix_element(2, begin * n + i);
  }
  const double seconds = run.seconds_of([&, rows] {
    b = run.gather_rows(b_band, n, bench::MpiRun::To::kAll);
    example::multiply_rows(a.data(), b.data(), c.data(), n, 0, rows);
  });
  run.print(seconds, run.gather_rows(c, n));
  return 0;
}
