#include "personality/memory_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/mempolicy.h>

namespace gallocy::personality {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr NodeId kZero{0}, kOne{1}, kThree{3};

std::optional<MemoryPolicy> policy(int mode, std::uint64_t mask) {
  return memory_policy(mode, std::span(&mask, 1), 64, 4);
}

TEST(memory_policy, the_nodes_of_a_mask) {
  EXPECT_THAT(policy(MPOL_BIND, 0b1010)->nodes, ElementsAre(kOne, kThree));
  EXPECT_THAT(policy(MPOL_BIND | MPOL_F_STATIC_NODES, 0b1)->nodes, ElementsAre(kZero));
  EXPECT_THAT(policy(MPOL_INTERLEAVE, 0b110000001)->nodes, ElementsAre(kZero)) << "nodes that do not exist";
  EXPECT_THAT(policy(MPOL_PREFERRED, 0)->nodes, IsEmpty());
  EXPECT_THAT(memory_policy(MPOL_DEFAULT, {}, 0, 4)->nodes, IsEmpty());
}

TEST(memory_policy, what_the_kernel_refuses) {
  EXPECT_FALSE(policy(MPOL_DEFAULT, 1));
  EXPECT_FALSE(policy(MPOL_LOCAL, 1));
  EXPECT_FALSE(policy(MPOL_BIND, 0));
  EXPECT_FALSE(policy(MPOL_INTERLEAVE, 0));
  EXPECT_FALSE(policy(MPOL_BIND, 0b10000)) << "none of them exists";
  EXPECT_FALSE(policy(77, 1));
}

TEST(memory_policy, blocks_go_to_the_nodes_in_turn_but_prefer_the_first) {
  const auto homes = [](const MemoryPolicy& p) {
    std::vector<NodeId> found;
    for (std::uint64_t block = 10; block < 14; ++block) found.push_back(p.home_of(BlockId{block}).value_or(kNoNode));
    return found;
  };
  EXPECT_THAT(homes(*policy(MPOL_INTERLEAVE, 0b1010)), ElementsAre(kOne, kThree, kOne, kThree));
  EXPECT_THAT(homes(*policy(MPOL_BIND, 0b1000)), ElementsAre(kThree, kThree, kThree, kThree));
  EXPECT_THAT(homes(*policy(MPOL_PREFERRED, 0b1010)), ElementsAre(kOne, kOne, kOne, kOne));
  EXPECT_THAT(homes(*policy(MPOL_DEFAULT, 0)), ElementsAre(kNoNode, kNoNode, kNoNode, kNoNode));
}

TEST(memory_policy, masks_are_measured_as_the_kernel_does) {
  EXPECT_EQ(words_of_mask(0), 0u);
  EXPECT_EQ(words_of_mask(1), 0u);
  EXPECT_EQ(words_of_mask(2), 1u);
  EXPECT_EQ(words_of_mask(65), 1u);
  EXPECT_EQ(words_of_mask(66), 2u);
  EXPECT_FALSE(words_of_mask(1 << 20));
}

}  // namespace
}  // namespace gallocy::personality
