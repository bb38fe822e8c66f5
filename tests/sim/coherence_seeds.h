// Which seeds a simulation test runs.
//   GALLOCY_SIM_SEEDS=N  seeds 1 … N instead of the test's usual number
//   GALLOCY_SIM_SEED=N   the one seed N, with a trace of every event
// When a check fails, the line printed last says how to replay the seed.
#pragma once

#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "gtest/gtest.h"

namespace gallocy::sim {

namespace seeds_detail {
inline char replay[200];
inline std::size_t replay_length = 0;
inline void print_replay(int) {
  if (::write(STDERR_FILENO, replay, replay_length) < 0) ::_exit(1);
  std::signal(SIGABRT, SIG_DFL);
  std::abort();
}
}  // namespace seeds_detail

// What a failed CHECK is to print for this seed.
inline void announce_seed(std::uint64_t seed) {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  seeds_detail::replay_length = static_cast<std::size_t>(
      std::snprintf(seeds_detail::replay, sizeof seeds_detail::replay,
                    "seed %llu failed; replay: GALLOCY_SIM_SEED=%llu … --gtest_filter=%s.%s\n",
                    static_cast<unsigned long long>(seed), static_cast<unsigned long long>(seed),
                    test != nullptr ? test->test_suite_name() : "", test != nullptr ? test->name() : ""));
  std::signal(SIGABRT, seeds_detail::print_replay);
}

// Calls run(seed, trace) for each seed; `usually`: how many without a setting. Returns how many ran.
template <typename Run>
std::uint64_t for_each_seed(std::uint64_t usually, Run run) {
  if (const char* one = std::getenv("GALLOCY_SIM_SEED")) {
    const std::uint64_t seed = std::strtoull(one, nullptr, 10);
    announce_seed(seed);
    run(seed, true);
    return 1;
  }
  const char* many = std::getenv("GALLOCY_SIM_SEEDS");
  const std::uint64_t seeds = many != nullptr ? std::strtoull(many, nullptr, 10) : usually;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    announce_seed(seed);
    run(seed, false);
  }
  std::signal(SIGABRT, SIG_DFL);
  return seeds;
}

}  // namespace gallocy::sim
