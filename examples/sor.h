// Red-black successive over-relaxation for the heat equation on a square plate whose upper edge is hot. The points are
// coloured like a chessboard: a red point depends on black ones only and the other way round, so that all points of one
// colour may be computed at once, by any number of workers, with the same result.
//
// Each worker owns a band of rows. Between two half-steps only the rows at the seams of two bands travel.
#pragma once

#include <cmath>
#include <numbers>

#include "common/example.h"

namespace example {

struct SorOptions {
  std::size_t size = 128;  // points per side, edges included
  std::size_t iterations = 10;
};

inline constexpr double kOverRelaxation = 1.9;

// The points first, first + 2, … of one row. noinline: both teams run the very same instructions.
[[gnu::noinline]] inline void relax_row(double* row, std::size_t size, std::size_t first) {
  const double* above = row - size;
  const double* below = row + size;
  for (std::size_t j = first; j + 1 < size; j += 2) {
    const double mean = 0.25 * (above[j] + below[j] + row[j - 1] + row[j + 1]);
    row[j] += kOverRelaxation * (mean - row[j]);
  }
}

// The temperature along the upper edge: two humps. The other edges are kept at 0.
inline double edge_temperature(std::size_t j, std::size_t size) {
  const double x = static_cast<double>(j) / static_cast<double>(size - 1);
  return std::pow(std::sin(2 * std::numbers::pi * x), 2) * (x < 0.5 ? 1.0 : 0.7);
}

struct SorResult : Outcome {
  std::span<const double> grid;  // size * size, row by row; valid as long as the team's memory
};

template <typename Team>
SorResult solve_sor(Team& team, const SorOptions& options) {
  const std::size_t n = options.size;
  auto grid = shared<double>(team, "sor.grid", n * n, gallocy::Placement::blocked());
  auto [begin, end] = gallocy::share(n, team.id(), team.count());
  for (std::size_t i = begin; i < end; ++i) {
    for (std::size_t j = 0; j < n; ++j) grid[i * n + j] = i == 0 ? edge_temperature(j, n) : 0.0;
  }
  begin = std::max<std::size_t>(begin, 1);  // the edges stay as they are
  end = std::min(end, n - 1);

  SorResult result;
  result.grid = grid;
  result.seconds = seconds_of(team, [&, begin = begin, end = end] {
    for (std::size_t iteration = 0; iteration < options.iterations; ++iteration) {
      for (std::size_t colour = 0; colour < 2; ++colour) {
        for (std::size_t i = begin; i < end; ++i) relax_row(&grid[i * n], n, 1 + (i + colour) % 2);
        team.barrier();
      }
    }
  });

  if (team.id() == 0) {
    Digest digest;
    for (const double point : grid) digest.add(point);
    result.digest = digest.value();
  }
  team.barrier();
  return result;
}

}  // namespace example
