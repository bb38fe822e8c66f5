// The main of heap_node and heap_mimalloc: runs one workload of heap_workloads.h on one allocator and prints
// `mops=<million operations per second> digest=<of the work>`.
#pragma once

#include <cstdio>
#include <optional>
#include <string_view>

#include "heap_workloads.h"

namespace gallocy::bench {

struct HeapChoice {
  std::string_view workload;  // larson or mstress
  bool small = false;
};

// Nothing: the arguments are wrong, which has been said.
inline std::optional<HeapChoice> heap_choice(int argc, char** argv) {
  const HeapChoice choice{argc > 1 ? argv[1] : "", argc == 3 && std::string_view(argv[2]) == "--small"};
  if ((choice.workload == "larson" || choice.workload == "mstress") && (argc == 2 || choice.small)) return choice;
  std::fprintf(stderr, "%s: expected larson or mstress, and perhaps --small\n", argv[0]);
  return std::nullopt;
}

template <typename Allocator>
HeapRun run_workload(const HeapChoice& choice) {
  if (choice.workload == "larson") {
    LarsonParameters larson;
    if (choice.small) larson.generations = 2, larson.rounds = 4;
    return Larson<Allocator>(larson).run();
  }
  MstressParameters mstress;
  if (choice.small) mstress.iterations = 3, mstress.allocations = 500;
  return Mstress<Allocator>(mstress).run();
}

inline void print_run(const HeapRun& run) {
  std::printf("mops=%.4f digest=%016llx\n", run.operations_per_second / 1e6,
              static_cast<unsigned long long>(run.digest));
}

}  // namespace gallocy::bench
