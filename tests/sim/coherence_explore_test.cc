// Every interleaving of small configurations; see coherence_explorer.h. GALLOCY_SIM_EXPLORE_ALL=1 adds those that take
// minutes.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "coherence_explorer.h"

namespace gallocy::sim {
namespace {

constexpr PageId kA{0}, kB{1};
Operation r(PageId page) { return read({page, 0}); }
Operation w(PageId page, std::uint64_t value) { return write({page, 0}, value); }
Operation up(PageId page) { return add({page, 0}, 1); }

struct Choices {
  coherence::PlacementKind placement = coherence::PlacementKind::kNode;
  std::uint64_t hold_us = 0;
  unsigned run = 1;
  std::uint64_t revisit_us = ~std::uint64_t{0};
  bool predict = false;
  unsigned move_after = 0;
  std::uint64_t budget = ~std::uint64_t{0};
};

Exploration exploration(std::string name, std::vector<std::vector<Operation>> of_node, const Choices& c = {}) {
  Exploration e{.name = std::move(name)};
  for (std::uint16_t n = 0; n < of_node.size(); ++n) {
    e.cluster.nodes.push_back({.self = NodeId{n},
                               .nodes = static_cast<std::uint16_t>(of_node.size()),
                               .minimum_hold_us = c.hold_us,
                               .longest_run = c.run,
                               .predict_migratory = c.predict,
                               .move_home_after = c.move_after,
                               .revisit_after_us = c.revisit_us,
                               .budget_pages = c.budget});
    if (!of_node[n].empty()) e.threads.push_back({NodeId{n}, of_node[n]});
  }
  e.cluster.regions = {{.first_page = PageId{0}, .pages = kBlockPages, .placement = c.placement, .node = NodeId{0}}};
  return e;
}

void explore(const Exploration& e) {
  const ExplorationReport report = CoherenceExplorer(e).run();
  std::printf("%-44s %9llu states %10llu steps %7llu ends\n", e.name.c_str(),
              static_cast<unsigned long long>(report.states), static_cast<unsigned long long>(report.steps),
              static_cast<unsigned long long>(report.ends));
  EXPECT_GT(report.states, 20u);
  EXPECT_GT(report.ends, 0u);
}

bool all() { return std::getenv("GALLOCY_SIM_EXPLORE_ALL") != nullptr; }

TEST(CoherenceExplore, one_page_read_and_write) {
  explore(exploration("W,R by all", {{w(kA, 1), r(kA)}, {w(kA, 2), r(kA)}, {w(kA, 3), r(kA)}}));
  explore(exploration("R,W by all", {{r(kA), w(kA, 1)}, {r(kA), w(kA, 2)}, {r(kA), w(kA, 3)}}));
  explore(exploration("R,W,R home idle", {{}, {r(kA), w(kA, 1), r(kA)}, {r(kA), w(kA, 2), r(kA)}}));
  explore(exploration("increments", {{up(kA), up(kA)}, {up(kA), up(kA)}, {up(kA), up(kA)}}));
}

TEST(CoherenceExplore, two_pages) {
  explore(exploration("SB", {{}, {w(kA, 1), r(kB)}, {w(kB, 1), r(kA)}}));
  explore(exploration("MP and a bystander", {{r(kA)}, {w(kA, 1), w(kB, 1)}, {r(kB), r(kA)}}));
  explore(exploration("2+2W", {{}, {w(kA, 1), w(kB, 2)}, {w(kB, 1), w(kA, 2)}}));
}

TEST(CoherenceExplore, first_touch) {
  explore(exploration("first touch by all", {{w(kA, 1)}, {w(kA, 2), r(kA)}, {r(kA), w(kA, 3)}},
                      {.placement = coherence::PlacementKind::kFirstTouch}));
}

TEST(CoherenceExplore, minimum_hold) {
  explore(exploration("hold, increments", {{up(kA)}, {up(kA), up(kA)}, {up(kA), up(kA)}}, {.hold_us = 10}));
  explore(exploration("hold, R,W", {{r(kA)}, {r(kA), w(kA, 1)}, {r(kA), w(kA, 2)}}, {.hold_us = 10}));
}

TEST(CoherenceExplore, migratory_prediction) {
  explore(exploration("predicted R,W", {{}, {r(kA), w(kA, 1), r(kA), w(kA, 2)}, {r(kA), w(kA, 3), r(kA), w(kA, 4)}},
                      {.predict = true}));
  explore(
      exploration("predicted, a reader", {{r(kA), r(kA)}, {r(kA), w(kA, 1)}, {r(kA), w(kA, 3)}}, {.predict = true}));
}

TEST(CoherenceExplore, home_moves) {
  explore(exploration("home moves after each write", {{r(kA)}, {up(kA), r(kA)}, {up(kA)}}, {.move_after = 1}));
  explore(exploration("home moves, two pages", {{}, {w(kA, 1), w(kB, 1)}, {r(kA), w(kB, 2)}}, {.move_after = 1}));
}

TEST(CoherenceExplore, eviction) {
  explore(exploration("budget of one page", {{r(kA)}, {w(kA, 1), w(kB, 1)}, {w(kA, 2), r(kB)}}, {.budget = 1}));
}

TEST(CoherenceExplore, pages_that_come_back_together) {
  explore(exploration("lost pages, asked for together",
                      {{w(kA, 1), w(kB, 1), w(kA, 2), w(kB, 2), up(kA)}, {up(kA), up(kB), up(kA), r(kB)}},
                      {.run = 2, .revisit_us = 0}));
}

TEST(CoherenceExplore, pins) {
  const auto pinned = [](PageId first, PageId second) {
    return std::vector<Operation>{pin(first, Access::kWrite), pin(second, Access::kWrite), unpin(first), unpin(second)};
  };
  explore(exploration("pins in order, runs", {{w(kA, 1)}, pinned(kA, kB), pinned(kA, kB)}, {.run = 2}));
}

TEST(CoherenceExplore, a_node_dies_at_any_step) {
  for (std::uint16_t victim = 0; victim < 3; ++victim) {
    Exploration e =
        exploration(fmt::format("R,W; node {} dies", victim), {{r(kA)}, {w(kA, 1), r(kA)}, {r(kA), w(kA, 2)}});
    e.crash = true;
    e.early_ticks = 1;
    e.victim = NodeId{victim};
    explore(e);
  }
}

TEST(CoherenceExplore, a_node_dies_while_homes_move) {
  for (std::uint16_t victim = 0; victim < 3; ++victim) {
    Exploration e = exploration(fmt::format("home moves; node {} dies", victim), {{}, {up(kA)}, {up(kA), r(kA)}},
                                {.placement = coherence::PlacementKind::kFirstTouch, .move_after = 1});
    e.crash = true;
    e.early_ticks = 1;
    e.victim = NodeId{victim};
    explore(e);
  }
}

TEST(CoherenceExplore, larger_ones) {
  if (!all()) GTEST_SKIP() << "GALLOCY_SIM_EXPLORE_ALL is not set";
  // A page is put to a node that is not the home when its bytes begin to arrive, and is the home when they are all
  // there.
  Exploration put = exploration("home moves, budget of one page on two nodes",
                                {{w(kA, 1), r(kB)}, {w(kB, 2), w(kB, 3)}, {w(kB, 4)}}, {.move_after = 1});
  put.cluster.nodes[0].budget_pages = 1;
  put.cluster.nodes[1].budget_pages = 1;
  explore(put);
  explore(exploration("three increments each", {{up(kA), up(kA), up(kA)}, {up(kA), up(kA), up(kA)}, {up(kA), up(kA)}}));
  explore(exploration("two pages, all write all",
                      {{w(kA, 1), w(kB, 1)}, {w(kA, 2), w(kB, 2)}, {w(kB, 3), w(kA, 3), r(kB)}}));
}

}  // namespace
}  // namespace gallocy::sim
