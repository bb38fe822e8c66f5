// kmeans: Lloyd's algorithm. Each worker owns a part of the points and, in every round, sums up the points nearest to
// each centre; worker 0 adds the workers' sums and moves the centres; all read the new centres.
//
//   gallocy launch -n 2 -- kmeans --points 1000000 --clusters 16 --rounds 10
//
// The coordinates are multiples of 2^-20 below 1, so that sums of up to 2^32 of them are exact in a double and do not
// depend on the order in which workers add: the result is the same, bit by bit, for any number of workers.
//
// Shows: data that each node writes alone on pages of its own (no false sharing) and that one node gathers.
#include <array>
#include <cstdio>

#include "common/example.h"

namespace {

struct Options {
  std::size_t points = 20000;
  std::size_t clusters = 8;
  std::size_t rounds = 5;
};

constexpr std::size_t kDimensions = 8;
constexpr std::size_t kMostClusters = 64;
using Point = std::array<double, kDimensions>;

// One worker's part of a round. Aligned so that two workers never write to one page.
struct alignas(example::kPageBytes) Sums {
  std::array<Point, kMostClusters> sum;
  std::array<std::uint64_t, kMostClusters> count;
};

Point point_at(std::size_t index, std::size_t clusters) {
  // Clouds around random middles, wide enough to overlap.
  const std::size_t cloud = example::random_word(3, index) % clusters;
  Point point;
  for (std::size_t d = 0; d < kDimensions; ++d) {
    const auto middle = example::random_word(4, cloud * kDimensions + d) >> 45;  // 19 bits each: the sum is below 2^20
    const auto offset = example::random_word(5, index * kDimensions + d) >> 45;
    point[d] = static_cast<double>(middle + offset) / (1 << 20);
  }
  return point;
}

// noinline: both teams run the very same instructions.
[[gnu::noinline]] void add_up(std::span<const Point> points, std::span<const Point> centres, Sums& sums) {
  for (const Point& point : points) {
    std::size_t nearest = 0;
    double least = 1e300;
    for (std::size_t c = 0; c < centres.size(); ++c) {
      double distance = 0;
      for (std::size_t d = 0; d < kDimensions; ++d) distance += (point[d] - centres[c][d]) * (point[d] - centres[c][d]);
      if (distance < least) least = distance, nearest = c;
    }
    for (std::size_t d = 0; d < kDimensions; ++d) sums.sum[nearest][d] += point[d];
    ++sums.count[nearest];
  }
}

void move_centres(std::span<const Sums> parts, std::span<Point> centres) {
  for (std::size_t c = 0; c < centres.size(); ++c) {
    Point sum{};
    std::uint64_t count = 0;
    for (const Sums& part : parts) {
      for (std::size_t d = 0; d < kDimensions; ++d) sum[d] += part.sum[c][d];
      count += part.count[c];
    }
    if (count == 0) continue;  // nobody is near: the centre stays
    for (std::size_t d = 0; d < kDimensions; ++d) centres[c][d] = sum[d] / static_cast<double>(count);
  }
}

template <typename Team>
example::Outcome cluster(Team& team, const Options& options) {
  auto points = example::shared<Point>(team, "kmeans.points", options.points, gallocy::Placement::blocked());
  auto centres = example::shared<Point>(team, "kmeans.centres", options.clusters);
  auto parts = example::shared<Sums>(team, "kmeans.parts", team.count());
  const auto [begin, end] = gallocy::share(points.size(), team.id(), team.count());
  for (auto i = begin; i < end; ++i) points[i] = point_at(i, options.clusters);
  if (team.id() == 0) {
    for (std::size_t c = 0; c < centres.size(); ++c) centres[c] = point_at(c, options.clusters);
  }
  const auto mine = points.subspan(begin, end - begin);

  example::Outcome outcome;
  outcome.seconds = example::seconds_of(team, [&] {
    for (std::size_t round = 0; round < options.rounds; ++round) {
      Sums sums{};  // in private memory: it is written millions of times and read once
      add_up(mine, centres, sums);
      parts[team.id()] = sums;
      team.barrier();
      if (team.id() == 0) move_centres(parts, centres);
      team.barrier();
    }
  });

  if (team.id() == 0) {
    example::Digest digest;
    for (const Point& centre : centres) {
      for (const double coordinate : centre) digest.add(coordinate);
    }
    outcome.digest = digest.value();
    std::printf("%zu points, %zu clusters, %zu rounds on %u workers: first centre at (%.6f, %.6f, …)\n", points.size(),
                centres.size(), options.rounds, team.count(), centres[0][0], centres[0][1]);
  }
  team.barrier();
  return outcome;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  example::CommandLine line("Groups random points into clusters by Lloyd's algorithm.");
  line.add("--points", options.points, 1, std::size_t{1} << 32, "points, of 8 coordinates each");
  line.add("--clusters", options.clusters, 1, kMostClusters, "clusters");
  line.add("--rounds", options.rounds, 1, 1 << 20, "rounds");
  return example::run(line, argc, argv, [&](auto& team) { return cluster(team, options); });
}
