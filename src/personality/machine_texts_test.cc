#include "personality/machine_texts.h"

#include <gtest/gtest.h>

#include <sstream>

namespace gallocy::personality {
namespace {

MachineFacts machine(unsigned processors) {
  return {.processors = processors,
          .memory_bytes = std::uint64_t{2} << 30,
          .free_bytes = std::uint64_t{1} << 30,
          .boot_unix_seconds = 1'700'000'000,
          .up_seconds = 60,
          .cpuinfo =
              "processor\t: 7\nmodel name\t: Abacus : II\nphysical id\t: 3\nsiblings\t: 9\ncore id\t\t: 5\n"
              "cpu cores\t: 9\napicid\t\t: 8\ninitial apicid\t: 8\nflags\t\t: fpu\npower management:\n"};
}

TEST(machine_texts, lists_join_neighbours) {
  EXPECT_EQ(list_text({}), "\n");
  EXPECT_EQ(list_text({0}), "0\n");
  EXPECT_EQ(list_text({0, 1}), "0-1\n");
  EXPECT_EQ(list_text({0, 1, 2, 5, 8, 9}), "0-2,5,8-9\n");
  EXPECT_EQ(list_text(number_range(35, 35)), "35-69\n");
}

// The kernel's bitmap_string(): the first word has as many digits as the machine's processors need.
TEST(machine_texts, masks_are_as_wide_as_the_machine) {
  EXPECT_EQ(mask_text({0}, 1), "1\n");
  EXPECT_EQ(mask_text({1}, 2), "2\n");
  EXPECT_EQ(mask_text({0, 2}, 3), "5\n");
  EXPECT_EQ(mask_text({}, 5), "00\n");
  EXPECT_EQ(mask_text({31}, 32), "80000000\n");
  EXPECT_EQ(mask_text({32}, 33), "1,00000000\n");
  EXPECT_EQ(mask_text(number_range(0, 35), 70), "00,00000007,ffffffff\n");
  EXPECT_EQ(mask_text(number_range(35, 35), 70), "3f,fffffff8,00000000\n");
}

TEST(machine_texts, cpuinfo_numbers_processors_through_and_keeps_the_rest) {
  auto threaded = machine(2);
  threaded.cores = {0, 0};
  const std::vector<MachineFacts> nodes{machine(1), threaded};
  const auto block = [](int processor, int node, int siblings, int core, int cores) {
    std::ostringstream text;
    text << "processor\t: " << processor << "\nmodel name\t: Abacus : II\nphysical id\t: " << node
         << "\nsiblings\t: " << siblings << "\ncore id\t\t: " << core << "\ncpu cores\t: " << cores
         << "\napicid\t\t: " << processor << "\ninitial apicid\t: " << processor
         << "\nflags\t\t: fpu\npower management:\n\n";
    return text.str();
  };
  EXPECT_EQ(cpuinfo_text(nodes), block(0, 0, 1, 0, 1) + block(1, 1, 2, 0, 1) + block(2, 1, 2, 0, 1));
}

TEST(machine_texts, cpuinfo_passes_odd_lines_through) {
  auto odd = machine(1);
  odd.cpuinfo = ": 5\n\t\t: 6\nno colon\nprocessor: 4";
  EXPECT_EQ(cpuinfo_text(std::span(&odd, 1)), ": 5\n\t\t: 6\nno colon\nprocessor: 0\n\n");
}

TEST(machine_texts, meminfo_is_the_sum_of_the_nodes) {
  const std::vector<MachineFacts> nodes{machine(1), machine(1)};
  const auto text = meminfo_text(nodes);
  EXPECT_TRUE(
      text.starts_with("MemTotal:        4194304 kB\nMemFree:         2097152 kB\nMemAvailable:    2097152 kB\n"
                       "Buffers:               0 kB\nCached:                0 kB\n"))
      << text;
  EXPECT_NE(text.find("\nAnonPages:       2097152 kB\n"), std::string::npos);
  EXPECT_NE(text.find("\nVmallocTotal:   34359738367 kB\n"), std::string::npos);
  EXPECT_NE(text.find("\nHardwareCorrupted:     0 kB\n"), std::string::npos);
  EXPECT_NE(text.find("\nHugePages_Total:       0\n"), std::string::npos);
  EXPECT_NE(text.find("\nHugepagesize:       2048 kB\n"), std::string::npos);
}

TEST(machine_texts, node_meminfo_is_of_one_node) {
  const auto text = node_meminfo_text(NodeId{1}, machine(1));
  EXPECT_TRUE(
      text.starts_with("Node 1 MemTotal:        2097152 kB\nNode 1 MemFree:         1048576 kB\n"
                       "Node 1 MemUsed:         1048576 kB\n"))
      << text;
  EXPECT_TRUE(text.ends_with("\nNode 1 HugePages_Free:      0\nNode 1 HugePages_Surp:      0\n")) << text;
}

TEST(machine_texts, stat_has_a_line_for_each_processor) {
  auto younger = machine(2);
  younger.up_seconds = 1;
  younger.boot_unix_seconds = 1'700'000'059;
  const std::vector<MachineFacts> nodes{machine(1), younger};
  EXPECT_EQ(stat_text(nodes),
            "cpu  0 0 0 6200 0 0 0 0 0 0\ncpu0 0 0 0 6000 0 0 0 0 0 0\ncpu1 0 0 0 100 0 0 0 0 0 0\n"
            "cpu2 0 0 0 100 0 0 0 0 0 0\nintr 0\nctxt 0\nbtime 1700000000\nprocesses 1\nprocs_running 1\n"
            "procs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n");
}

TEST(machine_texts, distance_is_ten_to_itself_and_twenty_to_others) {
  EXPECT_EQ(distance_text(NodeId{0}, 1), "10\n");
  EXPECT_EQ(distance_text(NodeId{1}, 3), "20 10 20\n");
}

}  // namespace
}  // namespace gallocy::personality
