#include "personality/affinity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gallocy::personality {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

ProcessorMask mask_of(std::initializer_list<unsigned> processors) {
  ProcessorMask mask;
  for (const unsigned processor : processors) mask.add(processor);
  return mask;
}

NodeSet nodes(std::initializer_list<std::size_t> numbers) {
  NodeSet set;
  for (const std::size_t number : numbers) set.set(number);
  return set;
}

TEST(affinity, processors_are_numbered_through_in_the_order_of_the_nodes) {
  const ProcessorNumbers numbers({2, 1, 4});
  EXPECT_EQ(numbers.total(), 7U);
  EXPECT_EQ(numbers.first(NodeId{0}), 0U);
  EXPECT_EQ(numbers.first(NodeId{2}), 3U);
  EXPECT_EQ(numbers.all(), mask_of({0, 1, 2, 3, 4, 5, 6}));
}

TEST(affinity, a_mask_means_the_nodes_that_have_one_of_its_processors) {
  const ProcessorNumbers numbers({2, 1, 4});
  EXPECT_EQ(numbers.nodes_of(mask_of({1})), nodes({0}));
  EXPECT_EQ(numbers.nodes_of(mask_of({2})), nodes({1}));
  EXPECT_EQ(numbers.nodes_of(mask_of({0, 6})), nodes({0, 2}));
  EXPECT_EQ(numbers.nodes_of(numbers.all()), nodes({0, 1, 2}));
}

TEST(affinity, a_mask_that_was_never_set_means_all_nodes) { EXPECT_TRUE(ProcessorNumbers({2, 2}).nodes_of({}).all()); }

TEST(affinity, processors_that_do_not_exist_are_left_out) {
  const ProcessorNumbers numbers({2, 2});
  EXPECT_EQ(numbers.existing(mask_of({3, 4, 900})), mask_of({3}));
  EXPECT_TRUE(numbers.existing(mask_of({4, ProcessorMask::kMost - 1})).empty());
}

TEST(affinity, a_nodes_own_processors_count_from_its_first) {
  const ProcessorNumbers numbers({2, 1, 70});
  EXPECT_THAT(numbers.of_node(mask_of({1, 3, 72}), NodeId{2}), ElementsAre(0, 69));
  EXPECT_THAT(numbers.of_node(mask_of({1, 3, 72}), NodeId{1}), IsEmpty());
}

TEST(affinity, processors_beyond_what_a_mask_can_name_do_no_harm) {
  const ProcessorNumbers numbers({ProcessorMask::kMost, 8});
  EXPECT_EQ(numbers.total(), ProcessorMask::kMost + 8);
  EXPECT_EQ(numbers.nodes_of(numbers.all()), nodes({0}));
  EXPECT_THAT(numbers.of_node(numbers.all(), NodeId{1}), IsEmpty());
}

}  // namespace
}  // namespace gallocy::personality
