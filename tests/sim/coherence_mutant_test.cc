// The checkers must catch bugs: for each fault that a driver or a network could have (Mutant), some seed among the
// first few must fail. Each seed runs in a process of its own, because a failed CHECK ends it.
#include <gtest/gtest.h>

#include <cstdio>
#include <string_view>

#include "coherence_workload.h"
#include "failing_run.h"

namespace gallocy::sim {
namespace {

constexpr std::uint64_t kMostSeeds = 60'000;

// True: a checker stopped the run, or the core one of its own.
bool fails(std::uint64_t seed, const Workload& workload) {
  return fails_in_a_child(20, [&] { (void)run_workload(seed, workload); });
}

unsigned leaves_for(Mutant mutant) { return mutant == Mutant::kLeaveUnannounced ? 1 : 0; }

class CoherenceMutant : public testing::TestWithParam<std::pair<Mutant, std::string_view>> {};

TEST_P(CoherenceMutant, is_caught) {
  const auto [mutant, name] = GetParam();
  std::uint64_t seed = 1;
  while (seed <= kMostSeeds &&
         !fails(seed, {.kind = WorkloadKind::kMixed, .leaves = leaves_for(mutant), .mutant = mutant}))
    ++seed;
  std::printf("%.*s: caught at seed %llu\n", static_cast<int>(name.size()), name.data(),
              static_cast<unsigned long long>(seed));
  EXPECT_LE(seed, kMostSeeds) << "not caught";
}

INSTANTIATE_TEST_SUITE_P(
    all, CoherenceMutant,
    testing::Values(std::pair{Mutant::kSendBeforeProtect, "send_before_protect"},
                    std::pair{Mutant::kNeverProtect, "never_protect"}, std::pair{Mutant::kDropPayload, "drop_payload"},
                    std::pair{Mutant::kLatePayload, "late_payload"},
                    std::pair{Mutant::kMapBeforeBytes, "map_before_bytes"}, std::pair{Mutant::kReorder, "reorder"},
                    std::pair{Mutant::kRepeat, "repeat"}, std::pair{Mutant::kDropMessage, "drop_message"},
                    std::pair{Mutant::kDropWake, "drop_wake"}, std::pair{Mutant::kDropAck, "drop_ack"},
                    std::pair{Mutant::kGrantMore, "grant_more"}, std::pair{Mutant::kForgetTick, "forget_tick"},
                    std::pair{Mutant::kDiscardMore, "discard_more"},
                    std::pair{Mutant::kLeaveUnannounced, "leave_unannounced"}),
    [](const auto& parameter) { return std::string(parameter.param.second); });

TEST(CoherenceMutants, none_passes_where_mutants_fail) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) EXPECT_FALSE(fails(seed, {.kind = WorkloadKind::kMixed}));
}

}  // namespace
}  // namespace gallocy::sim
