#include "os/processor_share.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <thread>

namespace gallocy::os {
namespace {

using ::testing::ElementsAre;

TEST(ProcessorShare, processors_are_dealt_out_in_order) {
  const unsigned processors[] = {0, 1, 4, 5, 6, 7, 9};
  EXPECT_THAT(processor_share(processors, 0, 2), ElementsAre(0, 1, 4));
  EXPECT_THAT(processor_share(processors, 1, 2), ElementsAre(5, 6, 7, 9));
  EXPECT_THAT(processor_share(processors, 6, 7), ElementsAre(9));
}

TEST(ProcessorShare, nodes_share_where_there_are_more_of_them) {
  const unsigned processors[] = {2, 3};
  EXPECT_THAT(processor_share(processors, 0, 4), ElementsAre(2));
  EXPECT_THAT(processor_share(processors, 1, 4), ElementsAre(2));
  EXPECT_THAT(processor_share(processors, 2, 4), ElementsAre(3));
  EXPECT_THAT(processor_share(processors, 3, 4), ElementsAre(3));
}

TEST(ProcessorShare, it_is_taken_by_a_thread_and_left_again) {
  std::thread([] {  // of its own: the share is the thread's
    cpu_set_t before, share, after;
    ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
    take_processor_share(1, 2);
    EXPECT_TRUE(has_processor_share());
    ASSERT_EQ(::sched_getaffinity(0, sizeof share, &share), 0);
    EXPECT_EQ(CPU_COUNT(&share), std::max(1, CPU_COUNT(&before) - CPU_COUNT(&before) / 2));
    leave_processor_share();
    ASSERT_EQ(::sched_getaffinity(0, sizeof after, &after), 0);
    EXPECT_TRUE(CPU_EQUAL(&before, &after));
  })
      .join();
}

}  // namespace
}  // namespace gallocy::os
