// matmul: C = A * B for square matrices of doubles, block by block. Each worker computes a band of rows of C: it reads
// its band of A and all of B. B is only read, so that after the first touch every node holds a copy of it and no more
// messages are sent.
//
//   gallocy launch -n 2 -- matmul --size 1024
//
// Shows: shared<T> with blocked placement (each band of rows has its home where it is used).
#include "matmul.h"

#include <cstdio>

namespace {

struct Options {
  std::size_t size = 128;
};

template <typename Team>
example::Outcome multiply(Team& team, const Options& options) {
  const std::size_t n = options.size;
  const auto blocked = gallocy::Placement::blocked();
  auto a = example::shared<double>(team, "matmul.a", n * n, blocked);
  auto b = example::shared<double>(team, "matmul.b", n * n, blocked);
  auto c = example::shared<double>(team, "matmul.c", n * n, blocked);
  const auto [begin, end] = gallocy::share(n, team.id(), team.count());
  for (std::size_t i = begin * n; i < end * n; ++i) {
    a[i] = example::matrix_element(1, i);
    b[i] = example::matrix_element(2, i);
    c[i] = 0;
  }

  example::Outcome outcome;
  outcome.seconds = example::seconds_of(
      team, [&, begin = begin, end = end] { example::multiply_rows(a.data(), b.data(), c.data(), n, begin, end); });

  if (team.id() == 0) {
    example::Digest digest;
    double trace = 0;
    for (const double element : c) digest.add(element);
    for (std::size_t i = 0; i < n; ++i) trace += c[i * n + i];
    outcome.digest = digest.value();
    std::printf("%zu x %zu on %u workers: trace %.6f, %.2f GFLOP/s\n", n, n, team.count(), trace,
                2e-9 * static_cast<double>(n * n * n) / outcome.seconds);
  }
  team.barrier();
  return outcome;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  example::CommandLine line("Multiplies two matrices of doubles.");
  line.add("--size", options.size, 1, 1 << 17, "rows and columns");
  return example::run(line, argc, argv, [&](auto& team) { return multiply(team, options); });
}
