#include "coherence_workload.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/check.h"
#include "coherence_programs.h"

namespace gallocy::sim {
namespace {

using coherence::PlacementKind;
using coherence::RegionSpec;

template <typename T>
T one_of(Prng& prng, std::initializer_list<T> choices) {
  return choices.begin()[prng.below(choices.size())];
}

std::vector<RegionSpec> random_regions(Prng& prng, unsigned nodes) {
  std::vector<RegionSpec> regions;
  std::uint64_t next = 0;
  for (std::uint64_t r = 1 + prng.below(2); r > 0; --r) {
    next += kBlockPages * prng.below(2);
    const RegionSpec region{
        .first_page = PageId{next},
        .pages = kBlockPages * (1 + prng.below(3)),
        .placement = one_of(prng, {PlacementKind::kFirstTouch, PlacementKind::kFirstTouch, PlacementKind::kInterleave,
                                   PlacementKind::kNode, PlacementKind::kBlocked}),
        .node = NodeId{static_cast<std::uint16_t>(prng.below(nodes))}};
    regions.push_back(region);
    next += region.pages;
  }
  return regions;
}

Timing random_timing(Prng& prng) {
  return {.delay_us = one_of<std::uint64_t>(prng, {0, 5, 30}),
          .jitter_us = one_of<std::uint64_t>(prng, {0, 10, 40, 300}),
          .slow_one_in = one_of<std::uint64_t>(prng, {0, 0, 10, 100}),
          .wake_us = one_of<std::uint64_t>(prng, {0, 5, 20}),
          .preempted_one_in = one_of<std::uint64_t>(prng, {0, 0, 50}),
          .think_us = one_of<std::uint64_t>(prng, {0, 3, 30}),
          .announced_us = one_of<std::uint64_t>(prng, {0, 2, 20})};
}

// The pages that the programs of one run use, so that they meet.
struct Places {
  std::vector<PageId> hot;                        // random and shared accesses
  std::vector<std::pair<PageId, unsigned>> runs;  // streams and pins
  PageId random(Prng& prng) const { return hot[prng.below(hot.size())]; }
};

Places random_places(Prng& prng, const std::vector<RegionSpec>& regions) {
  Places places;
  std::set<PageId> hot;
  for (std::uint64_t n = 1 + prng.below(12); n > 0; --n) {
    const RegionSpec& region = regions[prng.below(regions.size())];
    // Near each other, so that requests for runs meet them.
    const std::uint64_t at = prng.one_in(4) ? prng.below(region.pages) : prng.below(8);
    hot.insert(PageId{region.first_page.value + at});
  }
  places.hot.assign(hot.begin(), hot.end());
  for (const RegionSpec& region : regions) {
    const std::uint64_t at = prng.below(region.pages - 8);
    const std::uint64_t most = std::min<std::uint64_t>(region.pages - at, one_of(prng, {8, 40, 150}));
    places.runs.emplace_back(PageId{region.first_page.value + at}, static_cast<unsigned>(most));
  }
  return places;
}

NodeId random_node(Prng& prng, unsigned nodes) { return NodeId{static_cast<std::uint16_t>(prng.below(nodes))}; }

// What programs share outside of the simulated memory.
struct Shared {
  std::vector<std::unique_ptr<Turn>> turns;
  Ring ring;
  bool ring_ready = false;
};

void add_mixed_threads(CoherenceSimulation& simulation, Prng& prng, const Places& places, unsigned nodes,
                       Shared& shared) {
  unsigned word = kFreeWords;
  // The pages whose words from kFreeWords on no checking program uses yet.
  std::vector<PageId> unused = places.hot;
  const auto take = [&] {
    const PageId page = unused.back();
    unused.pop_back();
    return page;
  };
  std::vector<PageId> own;
  if (unused.size() > 3 && prng.one_in(2)) own = {take(), take()};
  for (std::uint64_t programs = 2 + prng.below(6); programs > 0; --programs) {
    const NodeId node = random_node(prng, nodes);
    const Prng chance(prng());
    const auto [first, pages] = places.runs[prng.below(places.runs.size())];
    switch (prng.below(8)) {
      case 0:
      case 1:
        simulation.add_thread(node, random_accesses(chance, places.hot, 40, one_of(prng, {5u, 30u, 60u, 100u})));
        break;
      case 2:
        simulation.add_thread(node, stream(chance, first, pages, 1, prng.one_in(2) ? Access::kRead : Access::kWrite));
        break;
      case 3: {
        if (unused.empty()) break;
        const Address counter{take(), kFreeWords};
        Turn& turn = *shared.turns.emplace_back(std::make_unique<Turn>());
        turn.parties = 2 + static_cast<unsigned>(prng.below(2));
        for (unsigned i = 0; i < turn.parties; ++i)
          simulation.add_thread(random_node(prng, nodes), migratory(turn, i, counter, 8));
        break;
      }
      case 4: {
        if (unused.size() < 2) break;
        const PageId buffer = take(), flag = take();
        simulation.add_thread(node, producer(buffer, flag, 4));
        simulation.add_thread(random_node(prng, nodes), consumer(chance, buffer, flag, 4));
        break;
      }
      case 5:
        if (own.empty() || word == kPageWords) break;
        simulation.add_thread(node, own_words(chance, own, word++, 25));
        break;
      case 6:
        simulation.add_thread(node, counting(chance, {{places.random(prng), 1}, {places.random(prng), 2}}, 20));
        break;
      default:
        simulation.add_thread(node, pinning(chance, first, std::min(pages, 8u), 6));
        break;
    }
  }
}

void add_ring_threads(CoherenceSimulation& simulation, Prng& prng, const Places& places, unsigned nodes,
                      Shared& shared) {
  const std::uint64_t cells = 4 + prng.below(8);
  for (unsigned i = 0; i < cells; ++i) {
    shared.ring.next.push_back({places.hot[i % places.hot.size()], i / 12 + (i % 2) * 3});
    shared.ring.locks.push_back({places.hot[(i * 5 + 1) % places.hot.size()], 0});
  }
  std::uint64_t next_page = 0;
  const PageId first = simulation.cluster().options().regions[0].first_page;
  // Words must differ: cells that fell on the same page and word take the next free one.
  std::set<std::pair<std::uint64_t, unsigned>> taken;
  for (auto* addresses : {&shared.ring.next, &shared.ring.locks}) {
    for (Address& a : *addresses) {
      while (!taken.emplace(a.page.value, a.word).second) {
        if (++a.word == kPageWords) a = {PageId{first.value + next_page++ % kBlockPages}, 0};
      }
    }
  }
  simulation.add_thread(random_node(prng, nodes), ring_init(shared.ring, shared.ring_ready));
  for (unsigned n = 0; n < nodes; ++n)
    simulation.add_thread(NodeId{static_cast<std::uint16_t>(n)},
                          ring_swaps(Prng(prng()), shared.ring, shared.ring_ready, 5));
}

void check_ring(const CoherenceSimulation& simulation, const Ring& ring, CoherenceCluster& cluster) {
  (void)simulation;
  std::uint64_t at = 0, steps = 0;
  do {
    at = cluster.latest(ring.next[at].page, ring.next[at].word);
    CHECK(at < ring.next.size() && ++steps <= ring.next.size(), "the ring is broken", at, steps);
  } while (at != 0);
  CHECK(steps == ring.next.size(), "cells fell out of the ring", steps);
}

RunReport report(CoherenceSimulation& simulation) {
  RunReport r{.digest = simulation.digest(),
              .events = simulation.events(),
              .accesses = simulation.accesses(),
              .longest_wait_us = simulation.longest_wait_us(),
              .most_attempts = simulation.most_attempts(),
              .threads_lost = simulation.threads_lost(),
              .nodes_left = simulation.nodes_left()};
  for (std::uint16_t n = 0; n < simulation.cluster().count(); ++n) {
    const coherence::Counters& c = simulation.cluster().core(NodeId{n}).counters();
    r.counters.evicted += c.evicted;
    r.counters.spilled += c.spilled;
    r.counters.homes_moved += c.homes_moved;
    r.counters.predictions += c.predictions;
    r.counters.predictions_wrong += c.predictions_wrong;
    r.counters.prefetched += c.prefetched;
    r.counters.declined += c.declined;
    r.counters.deferred += c.deferred;
    r.counters.invalidations += c.invalidations;
  }
  return r;
}

}  // namespace

CoherenceSimulation::Options random_options(Prng& prng, unsigned nodes, std::vector<RegionSpec> regions) {
  CoherenceSimulation::Options options;
  options.seed = prng();
  options.timing = random_timing(prng);
  options.cluster.seed = prng();
  options.cluster.check_every_page = false;
  std::uint64_t pages = 0;
  for (const RegionSpec& region : regions) pages += region.pages;
  const bool tight = prng.one_in(3);
  const auto run = one_of(prng, {1u, 2u, 8u, 64u});
  const auto move = one_of(prng, {0u, 1u, 2u, 5u, 128u});
  const auto hold = one_of<std::uint64_t>(prng, {0, 10, 10, 100, 1000, 20'000});
  const std::uint64_t revisit = std::array<std::uint64_t, 4>{0, 0, 100, 1000}[options.cluster.seed / 3 % 4];
  for (unsigned n = 0; n < nodes; ++n) {
    options.cluster.nodes.push_back(
        {.self = NodeId{static_cast<std::uint16_t>(n)},
         .nodes = static_cast<std::uint16_t>(nodes),
         .minimum_hold_us = hold,
         .longest_run = prng.one_in(8) ? 1 : run,
         .predict_migratory = !prng.one_in(4),
         .move_home_after = move,
         .revisit_after_us = revisit,
         .budget_pages = tight ? pages / nodes + 4 + prng.below(pages / 2) : ~std::uint64_t{0}});
  }
  if (tight && prng.one_in(2)) {  // much less than the pages that are used: eviction all the time
    for (auto& of_node : options.cluster.nodes) of_node.budget_pages = 3 + prng.below(12);
  }
  options.announce_room = tight;
  options.cluster.locks = options.cluster.seed % 3 == 0;
  options.cluster.homes_given = options.cluster.seed % 3 == 1;
  options.cluster.regions = std::move(regions);
  return options;
}

RunReport run_workload(std::uint64_t seed, const Workload& workload) {
  Prng prng(seed * 1000 + static_cast<unsigned>(workload.kind) * 10 + workload.crashes);
  unsigned nodes = static_cast<unsigned>(2 + prng.below(4));
  if (prng.one_in(16)) nodes = static_cast<unsigned>(6 + prng.below(4));
  if (workload.kind == WorkloadKind::kManyNodes) nodes = static_cast<unsigned>(49 + prng.below(12));
  auto options = random_options(prng, nodes, random_regions(prng, nodes));
  options.cluster.mutant = workload.mutant;
  options.cluster.trace = workload.trace;
  Places places = random_places(prng, options.cluster.regions);
  Shared shared;
  CoherenceSimulation simulation(options);
  // Some that leave have no threads, so that those of others run meanwhile.
  const unsigned working = workload.leaves > 0 && prng.one_in(2) ? std::max(1u, nodes - workload.leaves) : nodes;
  switch (workload.kind) {
    case WorkloadKind::kMixed:
      add_mixed_threads(simulation, prng, places, working, shared);
      break;
    case WorkloadKind::kRing:
      add_ring_threads(simulation, prng, places, working, shared);
      break;
    case WorkloadKind::kManyNodes:
      for (unsigned i = 0; i < nodes; ++i)
        simulation.add_thread(random_node(prng, nodes), random_accesses(Prng(prng()), places.hot, 6, 20));
      break;
    case WorkloadKind::kHot:
      places.hot.resize(std::min<std::size_t>(places.hot.size(), 2));
      for (unsigned i = 0; i < nodes * 4; ++i)
        simulation.add_thread(NodeId{static_cast<std::uint16_t>(i % nodes)},
                              random_accesses(Prng(prng()), places.hot, 20, i % 2 == 0 ? 100 : 20));
      break;
    case WorkloadKind::kCount:
      CHECK(false);
  }
  for (unsigned i = 0; i < workload.crashes; ++i)
    simulation.crash_at(prng.below(prng.one_in(2) ? 500 : 5000), random_node(prng, nodes));
  for (unsigned i = 0; i < workload.leaves; ++i) {
    const NodeId node{
        static_cast<std::uint16_t>(working < nodes ? nodes - 1 - i % (nodes - working) : prng.below(nodes))};
    simulation.leave_at(prng.below(prng.one_in(2) ? 500 : 5000), node);
  }
  simulation.run();
  if (workload.kind == WorkloadKind::kRing && workload.crashes == 0)
    check_ring(simulation, shared.ring, simulation.cluster());
  return report(simulation);
}

}  // namespace gallocy::sim
