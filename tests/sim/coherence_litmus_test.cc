// Memory-model litmus tests (Alglave, Maranget, Tautschnig, "Herding cats", TOPLAS 2014) in the simulator. The outcomes
// that sequential consistency allows are computed by running all interleavings on plain memory. Over many seeds each of
// them must be seen, so that the schedules are known to vary, and no other.
#include <gtest/gtest.h>

#include <cstdio>
#include <map>
#include <set>

#include "base/check.h"
#include "coherence_seeds.h"
#include "coherence_workload.h"

namespace gallocy::sim {
namespace {

struct Instruction {
  bool writes;
  unsigned variable;
  unsigned operand;  // the value written, or the register that the value read goes to
};
constexpr Instruction W(unsigned variable, unsigned value) { return {true, variable, value}; }
constexpr Instruction R(unsigned variable, unsigned reg) { return {false, variable, reg}; }

struct Litmus {
  std::string name;
  unsigned variables, registers;
  std::vector<std::vector<Instruction>> threads;
};
// The registers, then the final values of the variables.
using Outcome = std::vector<std::uint64_t>;

void interleave(const Litmus& test, std::vector<std::size_t>& at, Outcome& state, std::set<Outcome>& found) {
  bool ended = true;
  for (std::size_t t = 0; t < test.threads.size(); ++t) {
    if (at[t] == test.threads[t].size()) continue;
    ended = false;
    const Instruction& i = test.threads[t][at[t]++];
    std::uint64_t& target = state[i.writes ? test.registers + i.variable : i.operand];
    const std::uint64_t before = target;
    target = i.writes ? i.operand : state[test.registers + i.variable];
    interleave(test, at, state, found);
    target = before;
    --at[t];
  }
  if (ended) found.insert(state);
}

std::set<Outcome> allowed_outcomes(const Litmus& test) {
  std::set<Outcome> found;
  std::vector<std::size_t> at(test.threads.size());
  Outcome state(test.registers + test.variables);
  interleave(test, at, state, found);
  return found;
}

// All threads begin at about the same time, with the pages wherever the preparation left them.
Program run_thread(Prng prng, std::vector<Instruction> instructions, std::vector<Address> variables, Outcome& outcome,
                   unsigned& arrived, unsigned threads) {
  for (const Address& a : variables) {
    if (prng.one_in(2)) co_await read(a);
    if (prng.one_in(3)) co_await add(a, 0);
  }
  ++arrived;
  while (arrived < threads) co_await pause(1);
  co_await pause(prng.below(60));
  for (const Instruction& i : instructions) {
    const Address a = variables[i.variable];
    if (i.writes) {
      co_await write(a, i.operand);
    } else {
      const OperationResult result = co_await read(a);
      outcome[i.operand] = result.value;
    }
    if (prng.one_in(3)) co_await pause(prng.below(60));
  }
}

Outcome run_once(const Litmus& test, std::uint64_t seed, bool trace) {
  Prng prng(seed);
  const auto nodes = static_cast<unsigned>(test.threads.size() + prng.below(2));
  auto options = random_options(prng, nodes, {{.first_page = PageId{0}, .pages = 2 * kBlockPages}});
  options.cluster.trace = trace;
  CoherenceSimulation simulation(options);
  std::vector<Address> variables;
  for (unsigned v = 0; v < test.variables; ++v)  // neighbours, the same page, or blocks with different homes
    variables.push_back({PageId{prng.one_in(4) ? kBlockPages + v : prng.one_in(4) ? 0 : v}, v});
  Outcome outcome(test.registers + test.variables);
  unsigned arrived = 0;
  const auto threads = static_cast<unsigned>(test.threads.size());
  for (std::uint16_t t = 0; t < threads; ++t)
    simulation.add_thread(NodeId{t}, run_thread(Prng(prng()), test.threads[t], variables, outcome, arrived, threads));
  simulation.run();
  for (unsigned v = 0; v < test.variables; ++v)
    outcome[test.registers + v] = simulation.cluster().latest(variables[v].page, variables[v].word);
  return outcome;
}

std::string text(const Outcome& outcome) { return fmt::format("{}", fmt::join(outcome, " ")); }

void run_litmus(const Litmus& test) {
  const std::set<Outcome> allowed = allowed_outcomes(test);
  std::map<Outcome, unsigned> seen;
  const std::uint64_t seeds = for_each_seed(1200, [&](std::uint64_t seed, bool trace) {
    const Outcome outcome = run_once(test, seed, trace);
    ++seen[outcome];
    EXPECT_TRUE(allowed.contains(outcome)) << test.name << " seed " << seed << ": forbidden outcome " << text(outcome);
  });
  std::printf("%-6s %llu seeds, %zu of %zu allowed outcomes seen\n", test.name.c_str(),
              static_cast<unsigned long long>(seeds), seen.size(), allowed.size());
  if (seeds < 1200) return;
  for (const Outcome& outcome : allowed)
    EXPECT_TRUE(seen.contains(outcome)) << test.name << ": never seen, though allowed: " << text(outcome);
}

TEST(CoherenceLitmus, store_buffering) { run_litmus({"SB", 2, 2, {{W(0, 1), R(1, 0)}, {W(1, 1), R(0, 1)}}}); }
TEST(CoherenceLitmus, message_passing) { run_litmus({"MP", 2, 2, {{W(0, 1), W(1, 1)}, {R(1, 0), R(0, 1)}}}); }
TEST(CoherenceLitmus, load_buffering) { run_litmus({"LB", 2, 2, {{R(0, 0), W(1, 1)}, {R(1, 1), W(0, 1)}}}); }
TEST(CoherenceLitmus, independent_reads_of_independent_writes) {
  run_litmus({"IRIW", 2, 4, {{W(0, 1)}, {W(1, 1)}, {R(0, 0), R(1, 1)}, {R(1, 2), R(0, 3)}}});
}
TEST(CoherenceLitmus, coherent_reads) { run_litmus({"CoRR", 1, 2, {{W(0, 1), W(0, 2)}, {R(0, 0), R(0, 1)}}}); }
TEST(CoherenceLitmus, two_writes_each) { run_litmus({"2+2W", 2, 0, {{W(0, 1), W(1, 2)}, {W(1, 1), W(0, 2)}}}); }

}  // namespace
}  // namespace gallocy::sim
