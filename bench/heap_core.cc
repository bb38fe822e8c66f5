// The heap core beside mimalloc on one node, both on plain memory: rows heap.core.larson and heap.core.mstress.
//
//   heap_core [--small] [--runs N] [--json FILE]
#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "heap_allocators.h"
#include "heap_workloads.h"

namespace gallocy::bench {
namespace {

constexpr double kTarget = 0.9;

struct Options {
  bool small = false;
  unsigned runs = 9;
  std::string json;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Runs the two in turn and compares medians; the ratio is the median of the ratios of neighbours.
nlohmann::json compare(const std::string& name, unsigned runs, const std::function<HeapRun()>& ours,
                       const std::function<HeapRun()>& reference, const std::string& bound) {
  std::vector<double> our_speeds, reference_speeds, ratios;
  for (unsigned i = 0; i < runs; ++i) {
    const bool ours_first = i % 2 == 0;
    HeapRun a = ours_first ? ours() : HeapRun{};
    const HeapRun b = reference();
    if (!ours_first) a = ours();
    if (a.digest != b.digest) {
      std::fprintf(stderr, "%s: the digests of the work differ\n", name.c_str());
      std::exit(1);
    }
    our_speeds.push_back(a.operations_per_second / 1e6);
    reference_speeds.push_back(b.operations_per_second / 1e6);
    ratios.push_back(a.operations_per_second / b.operations_per_second);
  }
  const auto [low, high] = std::minmax_element(ratios.begin(), ratios.end());
  const double ratio = median(ratios);
  std::printf("%-20s %7.2f M/s, mimalloc %7.2f M/s, ratio %.3f (%.3f to %.3f of %u runs)\n", name.c_str(),
              median(our_speeds), median(reference_speeds), ratio, *low, *high, runs);
  return {{"name", name},
          {"ours", median(our_speeds)},
          {"reference", median(reference_speeds)},
          {"unit", "M/s"},
          {"ratio", ratio},
          {"target", kTarget},
          {"met", ratio >= kTarget},
          {"runs", runs},
          {"bound", bound}};
}

int run(const Options& options) {
  LarsonParameters larson;
  MstressParameters mstress;
  if (options.small) {
    larson.generations = 2;
    larson.rounds = 4;
    mstress.iterations = 3;
    mstress.allocations = 500;
  }
  std::jthread ticker([](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      CoreHeap::tick();
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  });
  nlohmann::json rows;
  rows.push_back(compare(
      "heap.core.larson", options.runs, [&] { return Larson<CoreHeap>(larson).run(); },
      [&] { return Larson<Mimalloc>(larson).run(); }, "cache misses on the blocks and on the slabs' metadata"));
  rows.push_back(compare(
      "heap.core.mstress", options.runs, [&] { return Mstress<CoreHeap>(mstress).run(); },
      [&] { return Mstress<Mimalloc>(mstress).run(); }, "first touches of the pages of large blocks"));
  if (!options.json.empty()) std::ofstream(options.json) << rows.dump(2) << '\n';
  return 0;
}

}  // namespace
}  // namespace gallocy::bench

int main(int argc, char** argv) {
  gallocy::bench::Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--small") {
      options.small = true;
    } else if (flag == "--runs" && i + 1 < argc) {
      options.runs = static_cast<unsigned>(std::max(1, std::atoi(argv[++i])));
    } else if (flag == "--json" && i + 1 < argc) {
      options.json = argv[++i];
    } else {
      std::fprintf(stderr, "usage: heap_core [--small] [--runs N] [--json FILE]\n");
      return 64;
    }
  }
  return gallocy::bench::run(options);
}
