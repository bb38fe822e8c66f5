// Every history of small companies of the Raft core.
#include <gtest/gtest.h>

#include <cstdio>

#include "raft_explorer.h"

namespace gallocy::sim {
namespace {

using raft::Mutant;

class RaftExplore : public testing::TestWithParam<RaftExploration> {};

TEST_P(RaftExplore, no_history_breaks_a_rule) {
  const RaftExplorationReport report = RaftExplorer(GetParam()).run();
  std::printf("%llu states, %llu steps, %llu ends; up to %llu leaders, %llu entries committed\n",
              static_cast<unsigned long long>(report.states), static_cast<unsigned long long>(report.steps),
              static_cast<unsigned long long>(report.ends), static_cast<unsigned long long>(report.most_terms),
              static_cast<unsigned long long>(report.most_committed));
  EXPECT_FALSE(report.violation) << *report.violation;
  EXPECT_GT(report.most_committed, 1u);
}

INSTANTIATE_TEST_SUITE_P(
    all, RaftExplore,
    testing::Values(
        RaftExploration{.name = "two_elections_of_two", .nodes = 2, .timeouts = 3, .losses = 1},
        RaftExploration{.name = "proposals_of_two", .nodes = 2, .timeouts = 2, .proposals = 2, .losses = 1},
        RaftExploration{.name = "removals_of_two", .nodes = 2, .timeouts = 3, .proposals = 1, .removals = 1},
        RaftExploration{.name = "one_election_of_three", .nodes = 3, .timeouts = 1, .losses = 1},
        RaftExploration{.name = "proposal_of_three", .nodes = 3, .timeouts = 1, .proposals = 1},
        RaftExploration{.name = "removal_of_three", .nodes = 3, .timeouts = 1, .removals = 1},
        RaftExploration{.name = "four_elections_of_two", .nodes = 2, .timeouts = 4, .proposals = 1, .losses = 1}),
    [](const auto& parameter) { return parameter.param.name; });

class RaftExploreMutant : public testing::TestWithParam<RaftExploration> {};

TEST_P(RaftExploreMutant, is_found) {
  const RaftExplorationReport report = RaftExplorer(GetParam()).run();
  std::printf("%s in state %llu\n", report.violation.value_or("nothing").c_str(),
              static_cast<unsigned long long>(report.states));
  EXPECT_TRUE(report.violation);
}

INSTANTIATE_TEST_SUITE_P(
    all, RaftExploreMutant,
    testing::Values(
        RaftExploration{.name = "vote_twice", .nodes = 3, .timeouts = 2, .mutant = Mutant::kVoteTwice},
        RaftExploration{
            .name = "vote_for_shorter_log", .nodes = 3, .timeouts = 2, .mutant = Mutant::kVoteForShorterLog},
        RaftExploration{
            .name = "commit_without_quorum", .nodes = 3, .timeouts = 2, .mutant = Mutant::kCommitWithoutQuorum}),
    [](const auto& parameter) { return parameter.param.name; });

}  // namespace
}  // namespace gallocy::sim
