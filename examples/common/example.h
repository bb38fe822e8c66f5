// The frame of every example: reads the flags, forms the team, runs the body on it and prints the last line,
//
//   time=<seconds of the computing part> digest=<16 hexadecimal digits>
//
// which the tests and the benchmark read. Equal digests mean equal results, bit by bit.
#pragma once

#include <bit>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <new>
#include <string>

#include "common/command_line.h"
#include "common/team.h"

namespace example {

struct Outcome {
  double seconds = 0;
  std::uint64_t digest = 0;
  std::string wrong;  // what is wrong with the result; empty if nothing is
};

// Mixes the bits of a word (the finaliser of SplitMix64).
constexpr std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

// A fingerprint of a sequence of words.
class Digest {
 public:
  void add(std::uint64_t word) { value_ = mix(value_ * 31 + word + 1); }
  void add(double number) { add(std::bit_cast<std::uint64_t>(number)); }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0;
};

// Random numbers from a fixed seed: entry `index` of an endless table, so that every worker can fill its own part.
constexpr std::uint64_t random_word(std::uint64_t seed, std::uint64_t index) {
  return mix((seed << 40) + (index + 1) * 0x9e3779b97f4a7c15);
}

// The seconds that `compute` takes on the whole team: from a barrier to the barrier after it.
template <typename Team, typename Compute>
double seconds_of(Team& team, Compute compute) {
  team.barrier();
  const auto start = std::chrono::steady_clock::now();
  compute();
  team.barrier();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The exit status of main.
inline int finish(const Outcome& outcome) {
  std::printf("time=%.6f digest=%016llx\n", outcome.seconds, static_cast<unsigned long long>(outcome.digest));
  if (outcome.wrong.empty()) return 0;
  std::fprintf(stderr, "wrong result: %s\n", outcome.wrong.c_str());
  return 1;
}

template <typename Body>
int run(CommandLine& line, int argc, char** argv, Body body) try {
  if (const auto status = line.parse(argc, argv)) return *status;
  if (const auto threads = static_cast<unsigned>(line.plain_threads())) return finish(run_on_threads(threads, body));

  auto node = gallocy::Node::join();
  if (!node) return gallocy::report(node.error());
  ClusterTeam team(**node);
  const Outcome outcome = body(team);
  return team.id() == 0 ? finish(outcome) : 0;
} catch (const std::bad_alloc&) {
  return gallocy::report({gallocy::ErrorCode::kOutOfMemory, "memory is exhausted; choose a smaller size"});
}

}  // namespace example
