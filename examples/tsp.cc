// tsp: the shortest round trip through all cities, by branch and bound. The search tree is cut into tasks, one for each
// choice of the first cities; workers take tasks from a shared counter and share the length of the best tour so far,
// which lets each of them give up branches that another has shown to be hopeless.
//
//   gallocy launch -n 2 -- tsp --cities 15
//
// Shows the two ways to share a word. The task counter is hit by all workers and read by none: gallocy::atomic_ref
// carries the addition out where the counter lives and no page moves. The bound is read millions of times and written
// seldom: it is read with std::atomic_ref, so that each node keeps a copy of its page, and lowered under a mutex.
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdio>

#include "common/example.h"

namespace {

struct Options {
  std::size_t cities = 12;
};

constexpr std::size_t kMostCities = 20;
using Distances = std::array<std::array<std::uint32_t, kMostCities>, kMostCities>;

// On separate pages: taking a task must not disturb those who read the bound.
template <typename Team>
struct Search {
  alignas(example::kPageBytes) std::uint64_t next_task = 0;
  alignas(example::kPageBytes) std::uint32_t best = ~0u;
  alignas(example::kPageBytes) typename Team::mutex lowering;
};

Distances random_distances(std::size_t cities) {
  Distances distances{};
  const auto coordinate = [](std::uint64_t i) { return static_cast<double>(example::random_word(7, i) % 10000); };
  for (std::size_t i = 0; i < cities; ++i) {
    for (std::size_t j = 0; j < cities; ++j) {
      const double across = coordinate(2 * i) - coordinate(2 * j),
                   along = coordinate(2 * i + 1) - coordinate(2 * j + 1);
      distances[i][j] = static_cast<std::uint32_t>(std::lround(std::hypot(across, along)));
    }
  }
  return distances;
}

template <typename Team>
class Explorer {
 public:
  Explorer(Search<Team>& search, const Distances& distances, std::size_t cities)
      : search_(search), distances_(distances), cities_(cities) {
    for (std::size_t i = 0; i < cities; ++i) {
      least_[i] = ~0u;
      for (std::size_t j = 0; j < cities; ++j) {
        if (i != j) least_[i] = std::min(least_[i], distances[i][j]);
      }
    }
  }

  // Task t: the tours that begin 0, a, b with a and b the t-th pair of different cities.
  void explore(std::uint64_t task) {
    const std::size_t others = cities_ - 1;
    const std::size_t a = 1 + task / others, b = 1 + task % others;
    if (a == b) return;
    const std::uint32_t all = (1u << cities_) - 1;
    std::uint32_t leave = 0;  // the least that leaving each of the cities to come, and b, costs
    for (std::size_t i = 1; i < cities_; ++i) leave += i == a ? 0 : least_[i];
    extend(b, all & ~(1u | 1u << a | 1u << b), distances_[0][a] + distances_[a][b], leave);
  }

 private:
  void extend(std::size_t at, std::uint32_t left, std::uint32_t length, std::uint32_t leave) {
    if (length + leave >= std::atomic_ref(search_.best).load(std::memory_order_relaxed)) return;
    if (left == 0) return finish(length + distances_[at][0]);
    for (std::uint32_t rest = left; rest != 0; rest &= rest - 1) {
      const auto next = static_cast<std::size_t>(__builtin_ctz(rest));
      extend(next, left & ~(1u << next), length + distances_[at][next], leave - least_[at]);
    }
  }

  void finish(std::uint32_t length) {
    std::scoped_lock lock(search_.lowering);
    std::atomic_ref best(search_.best);
    if (length < best.load(std::memory_order_relaxed)) best.store(length, std::memory_order_relaxed);
  }

  Search<Team>& search_;
  const Distances distances_;  // each worker's own copy
  const std::size_t cities_;
  std::array<std::uint32_t, kMostCities> least_{};
};

template <typename Team>
example::Outcome travel(Team& team, const Options& options) {
  auto& search = example::object<Search<Team>>(team, "tsp.search");
  Explorer<Team> explorer(search, random_distances(options.cities), options.cities);
  const std::uint64_t tasks = (options.cities - 1) * (options.cities - 1);

  example::Outcome outcome;
  outcome.seconds = example::seconds_of(team, [&] {
    typename Team::template atomic_ref<std::uint64_t> next_task(search.next_task);
    for (auto task = next_task.fetch_add(1); task < tasks; task = next_task.fetch_add(1)) explorer.explore(task);
  });

  if (team.id() == 0) {
    // The length alone: if two tours are equally short, chance decides which is found first.
    example::Digest digest;
    digest.add(std::uint64_t{search.best});
    outcome.digest = digest.value();
    std::printf("%zu cities, %u workers: the shortest tour is %u long\n", options.cities, team.count(), search.best);
  }
  team.barrier();
  return outcome;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  example::CommandLine line("Finds the shortest round trip through random cities by branch and bound.");
  line.add("--cities", options.cities, 3, kMostCities, "cities");
  return example::run(line, argc, argv, [&](auto& team) { return travel(team, options); });
}
