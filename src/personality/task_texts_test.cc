#include "personality/task_texts.h"

#include <gtest/gtest.h>

namespace gallocy::personality {
namespace {

constexpr std::string_view kLine =
    "123 (a (b) c) R 1 123 123 0 -1 4194304 90 0 7 0 11 12 0 0 20 0 9 0 555 1000000 250 18446744073709551615 1 2 3 0 0 "
    "0 0 0 0 0 0 0 17 3 0 0 0 0 0 4 5 6 7 8 9 10 0\n";

TEST(TaskTexts, stat_line_is_read_also_with_parentheses_in_the_name) {
  TaskFacts task;
  ASSERT_TRUE(read_stat(kLine, task));
  EXPECT_STREQ(task.name, "a (b) c");
  EXPECT_EQ(task.state, 'R');
  EXPECT_EQ(task.minor_faults, 90u);
  EXPECT_EQ(task.major_faults, 7u);
  EXPECT_EQ(task.user_ticks, 11u);
  EXPECT_EQ(task.system_ticks, 12u);
  EXPECT_EQ(task.start_ticks, 555u);
  EXPECT_EQ(task.processor, 3u);
}

TEST(TaskTexts, what_is_no_stat_line_is_refused) {
  TaskFacts task;
  EXPECT_FALSE(read_stat("", task));
  EXPECT_FALSE(read_stat("1 (x) R 1 2", task));
  EXPECT_FALSE(read_stat(")(", task));
}

TEST(TaskTexts, stat_line_of_a_thread_differs_only_where_it_must) {
  TaskFacts task;
  ASSERT_TRUE(read_stat(kLine, task));
  task.guest_tid = 4194999;
  task.processor = 6;
  const std::string line = stat_line(kLine, task, {.threads = 5, .mapped_bytes = 8192, .resident_bytes = 4096});
  EXPECT_EQ(
      line,
      "4194999 (a (b) c) R 1 123 123 0 -1 4194304 90 0 7 0 11 12 0 0 20 0 5 0 555 8192 1 18446744073709551615 1 2 "
      "3 0 0 0 0 0 0 0 0 0 17 6 0 0 0 0 0 4 5 6 7 8 9 10 0\n");
}

TEST(TaskTexts, status_keeps_the_lines_that_it_does_not_know) {
  const TaskFacts task{.guest_tid = 77, .state = 'S', .name = "worker", .blocked = 0x200};
  const std::string text =
      status_text("Name:\tgallocy\nUmask:\t0022\nState:\tR (running)\nPid:\t1\nThreads:\t9\nSigBlk:\tff\n", task,
                  {.threads = 3}, {});
  EXPECT_EQ(text,
            "Name:\tworker\nUmask:\t0022\nState:\tS (sleeping)\nPid:\t77\nThreads:\t3\nSigBlk:\t0000000000000200\n");
}

TEST(TaskTexts, status_tells_of_the_processors_and_nodes_that_may_be_used) {
  const std::string_view own = "Cpus_allowed:\t3\nCpus_allowed_list:\t0-1\nMems_allowed:\t1\nMems_allowed_list:\t0\n";
  EXPECT_EQ(status_text(own, {}, {}, {}), own);
  std::string nodes;  // 1024 of them
  for (int i = 0; i < 31; ++i) nodes += "00000000,";
  EXPECT_EQ(
      status_text(own, {}, {}, {.processors = {2, 3, 5}, .all_processors = 6, .nodes = 3}),
      "Cpus_allowed:\t2c\nCpus_allowed_list:\t2-3,5\nMems_allowed:\t" + nodes + "00000007\nMems_allowed_list:\t0-2\n");
}

}  // namespace
}  // namespace gallocy::personality
