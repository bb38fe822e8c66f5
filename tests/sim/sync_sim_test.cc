// Many nodes, one seed, random order: the synchronisation core keeps its promises, with and without deaths, and the
// checks find bugs that are built in on purpose.
#include <gtest/gtest.h>

#include "coherence_seeds.h"
#include "sync_programs.h"
#include "sync_world.h"

namespace gallocy::sim {
namespace {

using AddThreads = void (*)(SyncWorld&);

struct Case {
  const char* name;
  AddThreads add_threads;
  unsigned most_crashes;
  unsigned cancel_one_in;  // of every other seed; 0: never
  std::uint64_t seeds;
  unsigned most_moves = 0;
};

SyncWorldOptions options_of(const Case& c, std::uint64_t seed) {
  Prng prng(seed * 0x9e3779b97f4a7c15);
  return {.nodes = static_cast<std::uint16_t>(2 + prng.below(5)),
          .seed = seed,
          .crashes = c.most_crashes == 0 ? 0 : static_cast<unsigned>(prng.below(c.most_crashes + 1)),
          .moves = c.most_moves == 0 ? 0 : 1 + static_cast<unsigned>(prng.below(c.most_moves)),
          .cancel_one_in = seed % 2 == 0 ? c.cancel_one_in : 0};
}

std::string run(const Case& c, const SyncWorldOptions& options, std::uint64_t* digest = nullptr) {
  SyncWorld world(options);
  c.add_threads(world);
  world.run();
  if (digest != nullptr) *digest = world.digest();
  return world.failure();
}

class SyncSim : public testing::TestWithParam<Case> {};

TEST_P(SyncSim, keeps_its_promises) {
  for_each_seed(GetParam().seeds, [](std::uint64_t seed, bool) {
    ASSERT_EQ(run(GetParam(), options_of(GetParam(), seed)), "") << "seed " << seed;
  });
}

TEST_P(SyncSim, a_seed_replays_to_the_same_digest) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    std::uint64_t first = 0, second = 0;
    run(GetParam(), options_of(GetParam(), seed), &first);
    run(GetParam(), options_of(GetParam(), seed), &second);
    ASSERT_EQ(first, second) << "seed " << seed;
  }
}

// Without meet, whose survivors acknowledge deaths: from then on nobody ends the waits of programs that do not.
void add_everything(SyncWorld& world) {
  add_mutex_threads(world);
  add_rw_threads(world);
  add_buffer_threads(world);
  add_semaphore_threads(world);
  add_barrier_threads(world);
  add_latch_threads(world);
  add_once_threads(world);
}

constexpr Case kCases[] = {
    {"mutex", add_mutex_threads, 0, 20, 3000},
    {"mutex_crash", add_mutex_threads, 3, 20, 6000},
    {"fairness", add_fairness_threads, 0, 0, 1000},
    {"rw", add_rw_threads, 0, 20, 3000},
    {"rw_crash", add_rw_threads, 3, 20, 6000},
    {"buffer", add_buffer_threads, 0, 20, 3000},
    {"buffer_crash", add_buffer_threads, 3, 20, 4000},
    {"semaphore", add_semaphore_threads, 0, 20, 2000},
    {"semaphore_crash", add_semaphore_threads, 3, 20, 3000},
    {"barrier", add_barrier_threads, 0, 20, 2000},
    {"barrier_crash", add_barrier_threads, 3, 20, 2000},
    {"latch_crash", add_latch_threads, 3, 20, 3000},
    {"once_crash", add_once_threads, 3, 20, 4000},
    {"meet_crash", add_meet_threads, 3, 0, 3000},
    {"everything", add_everything, 0, 50, 300},
    {"everything_crash", add_everything, 3, 50, 600},
    {"mutex_move", add_mutex_threads, 0, 20, 3000, 3},
    {"rw_move", add_rw_threads, 0, 20, 3000, 3},
    {"buffer_move", add_buffer_threads, 0, 20, 3000, 3},
    {"semaphore_move", add_semaphore_threads, 0, 20, 3000, 3},
    {"barrier_move", add_barrier_threads, 0, 20, 3000, 3},
    {"latch_move", add_latch_threads, 0, 20, 3000, 3},
    {"once_move", add_once_threads, 0, 20, 3000, 3},
    {"everything_move", add_everything, 0, 50, 600, 3},
    {"mutex_move_crash", add_mutex_threads, 3, 20, 3000, 3},
    {"rw_move_crash", add_rw_threads, 3, 20, 3000, 3},
    {"semaphore_move_crash", add_semaphore_threads, 3, 20, 3000, 3},
    {"everything_move_crash", add_everything, 3, 50, 1000, 3},
};
INSTANTIATE_TEST_SUITE_P(All, SyncSim, testing::ValuesIn(kCases),
                         [](const testing::TestParamInfo<Case>& c) { return c.param.name; });

// A bug built in, and the case whose checks are to find it.
struct Mutant {
  const char* name;
  sync::FaultInjection fault;
  Case where;
};

class SyncMutant : public testing::TestWithParam<Mutant> {};

TEST_P(SyncMutant, is_found) {
  const Mutant& mutant = GetParam();
  for (std::uint64_t seed = 1; seed <= mutant.where.seeds; ++seed) {
    SyncWorldOptions options = options_of(mutant.where, seed);
    options.fault_injection = mutant.fault;
    options.most_steps = 50'000;
    const std::string failure = run(mutant.where, options);
    if (failure.empty()) continue;
    std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), failure.c_str());
    return;
  }
  FAIL() << "no seed up to " << mutant.where.seeds << " shows the bug";
}

constexpr Mutant kMutants[] = {
    {"forget_requeue", sync::FaultInjection::kForgetRequeue, {"", add_mutex_threads, 0, 0, 200}},
    {"forget_orphan", sync::FaultInjection::kForgetOrphan, {"", add_mutex_threads, 3, 0, 500}},
    {"ignore_tickets", sync::FaultInjection::kIgnoreTickets, {"", add_mutex_threads, 0, 0, 2000}},
    {"register_too_early", sync::FaultInjection::kRegisterTooEarly, {"", add_mutex_threads, 3, 0, 2000}},
    {"release_too_early", sync::FaultInjection::kReleaseTooEarly, {"", add_buffer_threads, 0, 0, 500}},
    {"keep_crossed_permit", sync::FaultInjection::kKeepCrossedPermit, {"", add_semaphore_threads, 0, 10, 500}},
    {"forget_counts", sync::FaultInjection::kForgetCounts, {"", add_semaphore_threads, 0, 0, 500, 3}},
    {"drop_late", sync::FaultInjection::kDropLate, {"", add_semaphore_threads, 0, 0, 500, 3}},
    {"rebuilt_too_early", sync::FaultInjection::kRebuiltTooEarly, {"", add_semaphore_threads, 3, 0, 20000, 3}},
};
INSTANTIATE_TEST_SUITE_P(All, SyncMutant, testing::ValuesIn(kMutants),
                         [](const testing::TestParamInfo<Mutant>& m) { return m.param.name; });

}  // namespace
}  // namespace gallocy::sim
