// Faults, streams and hand-overs of pages.
#include <algorithm>
#include <atomic>
#include <numeric>
#include <random>
#include <thread>

#include "core_node.h"

namespace gallocy::bench {
namespace {

struct alignas(4096) Page {
  std::uint64_t words[512];
};

// A random permutation: no page follows its neighbour, so that nothing is fetched ahead and each access is one fault.
std::vector<std::size_t> random_order(std::size_t count) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937_64(1));
  return order;
}

constexpr std::uint64_t content_of(std::size_t page) { return page * 0x9e3779b97f4a7c15 + 1; }

enum class Touch { kRead, kWrite };

// Node 1 writes the pages, which have their home there; node 0 touches each once, in random order, and times each
// access by itself. With `read_before` node 0 holds read copies when it writes.
Figures measure_faults(gallocy::Node& node, Size size, Touch touch, bool read_before) {
  auto pages = or_exit(node.shared<Page>("bench.pages", size(64, 4096), gallocy::Placement::on(1)));
  if (node.id() == 1) {
    for (std::size_t i = 0; i < pages.size(); ++i) pages[i].words[7] = content_of(i);
  }
  or_exit(node.barrier());
  Figures figures;
  if (node.id() == 0) {
    const auto order = random_order(pages.size());
    const auto check = [&](std::size_t i, std::uint64_t value) {
      if (value != content_of(i))
        figures.wrong = "page " + std::to_string(i) + " holds something else than was written";
    };
    if (read_before) {
      for (const auto i : order) check(i, std::atomic_ref(pages[i].words[7]).load());
    }
    std::vector<double> times;
    times.reserve(order.size());
    for (const auto i : order) {
      const double start = now_us();
      if (touch == Touch::kRead) {
        const auto value = std::atomic_ref(pages[i].words[7]).load(std::memory_order_relaxed);
        times.push_back(now_us() - start);
        check(i, value);
      } else {
        std::atomic_ref(pages[i].words[8]).store(i, std::memory_order_relaxed);
        times.push_back(now_us() - start);
        check(i, pages[i].words[7]);
      }
    }
    figures.values["us"] = median_of(std::move(times));
  }
  or_exit(node.barrier());
  return figures;
}

}  // namespace

Figures measure_read_faults(gallocy::Node& node, Size size) { return measure_faults(node, size, Touch::kRead, false); }
Figures measure_write_faults(gallocy::Node& node, Size size) {
  return measure_faults(node, size, Touch::kWrite, false);
}
Figures measure_upgrade_faults(gallocy::Node& node, Size size) {
  return measure_faults(node, size, Touch::kWrite, true);
}

// Node 0 adds up every word of what node 1 wrote, once and from the beginning to the end.
Figures measure_stream(gallocy::Node& node, Size size) {
  Figures figures;
  std::vector<double> rates;
  const std::size_t count = size(1 << 17, 1 << 23);  // words
  auto words = or_exit(node.shared<std::uint64_t>("bench.stream", count, gallocy::Placement::on(1)));
  for (unsigned round = 0; round < 6; ++round) {
    if (node.id() == 1) {
      for (std::size_t i = 0; i < count; ++i) words[i] = i + round;
    }
    or_exit(node.barrier());
    if (node.id() == 0) {
      const double start = now_us();
      const std::uint64_t sum = std::accumulate(words.begin(), words.end(), std::uint64_t{0});
      rates.push_back(static_cast<double>(words.size_bytes()) / (now_us() - start));
      if (sum != count * (count - 1) / 2 + count * round)
        figures.wrong = "the stream's sum is not that of what was written";
    }
    or_exit(node.barrier());
  }
  figures.values["mb_per_s"] = median_of(std::move(rates));
  return figures;
}

// Two nodes write one page in turn; a hand-over is one node's write after the other's.
Figures measure_ping_pong(gallocy::Node& node, Size size) {
  auto page = or_exit(node.shared<Page>("bench.turn", 1, gallocy::Placement::on(1)));
  std::atomic_ref turn(page[0].words[0]);
  const std::uint64_t hand_overs = size(100, 4000);
  or_exit(node.barrier());
  const double start = now_us();
  for (std::uint64_t mine = node.id(); mine < hand_overs; mine += 2) {
    while (turn.load(std::memory_order_acquire) != mine) __builtin_ia32_pause();
    turn.store(mine + 1, std::memory_order_release);
  }
  or_exit(node.barrier());
  Figures figures;
  figures.values["us"] = (now_us() - start) / static_cast<double>(hand_overs);
  if (turn.load() != hand_overs) figures.wrong = "turns were lost";
  or_exit(node.barrier());
  return figures;
}

// Four threads of each of two nodes add to one word, each as often; the longest that any one of them waited for a
// write.
Figures measure_contention(gallocy::Node& node, Size size) {
  constexpr std::size_t kThreads = 4;
  auto page = or_exit(node.shared<Page>("bench.contention", 1, gallocy::Placement::on(1)));
  auto longest_of_node = or_exit(node.shared<Page>("bench.longest", node.count()));
  const std::size_t writes = size(20, 400);
  or_exit(node.barrier());
  std::vector<double> longest(kThreads);
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (std::size_t i = 0; i < writes; ++i) {
          const double start = now_us();
          std::atomic_ref(page[0].words[0]).fetch_add(1);
          longest[t] = std::max(longest[t], now_us() - start);
          std::this_thread::yield();
        }
      });
    }
  }
  longest_of_node[node.id()].words[0] = static_cast<std::uint64_t>(*std::max_element(longest.begin(), longest.end()));
  or_exit(node.barrier());
  Figures figures;
  if (node.id() == 0) {
    std::uint64_t worst = 0;
    for (const Page& entry : longest_of_node) worst = std::max(worst, entry.words[0]);
    figures.values["longest_ms"] = static_cast<double>(worst) / 1000;
    if (page[0].words[0] != kThreads * writes * node.count()) figures.wrong = "additions were lost";
  }
  or_exit(node.barrier());
  return figures;
}

// What a node remembers about pages, per page that is in use somewhere. A region of which no page is ever touched is
// mapped beside it and must add nothing.
Figures measure_metadata(gallocy::Node& node, Size size) {
  auto pages = or_exit(node.shared<Page>("bench.pages", size(256, 16384)));
  auto untouched = or_exit(node.map({.name = "bench.untouched", .bytes = std::uint64_t{1} << 36}));
  auto metadata = or_exit(node.shared<Page>("bench.metadata", node.count()));
  or_exit(node.barrier());
  const auto [begin, end] = gallocy::share(pages.size(), node.id(), node.count());
  for (auto i = begin; i < end; ++i) pages[i].words[0] = content_of(i);
  or_exit(node.barrier());
  std::uint64_t sum = 0, expected = 0;
  for (std::size_t i = 0; i < pages.size(); ++i) sum += pages[i].words[0], expected += content_of(i);
  or_exit(node.barrier());
  metadata[node.id()].words[0] = node.statistics().metadata_bytes;
  or_exit(node.barrier());
  Figures figures;
  if (node.id() == 0) {
    double most = 0;
    for (const Page& entry : metadata) most = std::max(most, static_cast<double>(entry.words[0]));
    figures.values["bytes_per_page"] = most / static_cast<double>(pages.size());
    if (sum != expected || untouched.data() == nullptr) figures.wrong = "the pages do not hold what was written";
  }
  or_exit(node.barrier());
  return figures;
}

}  // namespace gallocy::bench
