#include "personality/machine_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace gallocy::personality {
namespace {

namespace fs = std::filesystem;

MachineFacts machine(unsigned processors) {
  return {.processors = processors,
          .memory_bytes = std::uint64_t{2} << 30,
          .free_bytes = std::uint64_t{1} << 30,
          .boot_unix_seconds = 1'700'000'000,
          .up_seconds = 60,
          .cpuinfo =
              "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\nphysical id\t: 0\n"
              "siblings\t: 1\ncore id\t\t: 0\ncpu cores\t: 1\nflags\t\t: fpu lm\n",
          .caches = {{.level = 1, .type = CacheType::kData, .bytes = 48 << 10, .sets = 64, .ways = 12},
                     {.level = 3, .bytes = 32 << 20, .sets = 32768, .ways = 16, .sharing_cores = 16}}};
}

std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class MachineViewTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "/machine_view_XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    top_ = name;
  }
  void TearDown() override { fs::remove_all(top_); }

  fs::path tree() const { return top_ / "tree"; }
  std::string cpu(const std::string& path) const { return text_of(tree() / "sys/devices/system/cpu" / path); }
  std::string node(const std::string& path) const { return text_of(tree() / "sys/devices/system/node" / path); }

  fs::path top_;
};

TEST_F(MachineViewTest, processors_are_numbered_through) {
  const MachineView view({machine(2), machine(1), machine(3)}, tree());
  EXPECT_EQ(view.nodes(), 3U);
  EXPECT_EQ(view.processors(), 6U);
  EXPECT_EQ(view.first_processor(NodeId{0}), 0U);
  EXPECT_EQ(view.first_processor(NodeId{2}), 3U);
  EXPECT_EQ(view.processors_of(NodeId{2}), 3U);
  std::vector<unsigned> nodes;
  for (unsigned processor = 0; processor < 6; ++processor) nodes.push_back(view.node_of_processor(processor).value);
  EXPECT_THAT(nodes, testing::ElementsAre(0, 0, 1, 2, 2, 2));
}

TEST_F(MachineViewTest, one_processor) {
  MachineView view({machine(1)}, tree());
  ASSERT_TRUE(view.write());
  EXPECT_EQ(cpu("online"), "0\n");
  EXPECT_EQ(cpu("offline"), "\n");
  EXPECT_EQ(cpu("kernel_max"), "8191\n");
  EXPECT_FALSE(fs::exists(tree() / "sys/devices/system/cpu/cpu0/online"));
  EXPECT_EQ(node("online"), "0\n");
  EXPECT_EQ(node("node0/cpumap"), "1\n");
  EXPECT_EQ(node("node0/distance"), "10\n");
}

TEST_F(MachineViewTest, two_nodes_of_one_and_two_processors) {
  MachineView view({machine(1), machine(2)}, tree());
  ASSERT_TRUE(view.write());
  EXPECT_EQ(cpu("present"), "0-2\n");
  EXPECT_EQ(cpu("smt/active"), "0\n");
  EXPECT_EQ(cpu("cpu2/online"), "1\n");
  EXPECT_EQ(cpu("cpu2/topology/physical_package_id"), "1\n");
  EXPECT_EQ(cpu("cpu2/topology/core_id"), "1\n");
  EXPECT_EQ(cpu("cpu2/topology/thread_siblings"), "4\n");
  EXPECT_EQ(cpu("cpu2/topology/core_cpus_list"), "2\n");
  EXPECT_EQ(cpu("cpu2/topology/core_siblings_list"), "1-2\n");
  EXPECT_EQ(cpu("cpu2/topology/package_cpus"), "6\n");
  EXPECT_EQ(cpu("cpu2/cache/index0/size"), "48K\n");
  EXPECT_EQ(cpu("cpu2/cache/index0/type"), "Data\n");
  EXPECT_EQ(cpu("cpu2/cache/index0/shared_cpu_list"), "2\n");
  EXPECT_EQ(cpu("cpu2/cache/index1/type"), "Unified\n");
  EXPECT_EQ(cpu("cpu2/cache/index1/shared_cpu_map"), "6\n");
  EXPECT_EQ(cpu("cpu2/cache/index1/id"), "1\n");
  EXPECT_EQ(node("has_cpu"), "0-1\n");
  EXPECT_EQ(node("has_memory"), "0-1\n");
  EXPECT_EQ(node("node1/cpulist"), "1-2\n");
  EXPECT_EQ(node("node1/distance"), "20 10\n");
  EXPECT_TRUE(node("node1/meminfo").starts_with("Node 1 MemTotal:        2097152 kB\n"));
  EXPECT_TRUE(text_of(tree() / "proc/meminfo").starts_with("MemTotal:        4194304 kB\n"));
  EXPECT_THAT(text_of(tree() / "proc/cpuinfo"), testing::HasSubstr("processor\t: 2\n"));
}

TEST_F(MachineViewTest, seventy_processors_with_threads) {
  auto threaded = machine(35);
  for (std::uint16_t k = 0; k < 35; ++k) threaded.cores.push_back(k / 2);
  MachineView view({threaded, threaded}, tree());
  ASSERT_TRUE(view.write());
  EXPECT_EQ(cpu("online"), "0-69\n");
  EXPECT_EQ(cpu("smt/control"), "on\n");
  EXPECT_EQ(cpu("cpu36/topology/core_id"), "0\n");
  EXPECT_EQ(cpu("cpu36/topology/thread_siblings_list"), "35-36\n");
  EXPECT_EQ(cpu("cpu36/topology/thread_siblings"), "00,00000018,00000000\n");
  EXPECT_EQ(cpu("cpu69/topology/thread_siblings_list"), "69\n");
  EXPECT_EQ(cpu("cpu69/topology/core_siblings"), "3f,fffffff8,00000000\n");
  EXPECT_EQ(cpu("cpu36/cache/index1/shared_cpu_list"), "35-66\n");  // 16 cores of two threads
  EXPECT_EQ(cpu("cpu69/cache/index1/shared_cpu_list"), "67-69\n");
  EXPECT_EQ(node("node0/cpumap"), "00,00000007,ffffffff\n");
}

TEST_F(MachineViewTest, node_without_memory_has_none) {
  auto bare = machine(1);
  bare.memory_bytes = bare.free_bytes = 0;
  MachineView view({machine(1), bare}, tree());
  ASSERT_TRUE(view.write());
  EXPECT_EQ(node("has_memory"), "0\n");
  EXPECT_EQ(node("online"), "0-1\n");
}

TEST_F(MachineViewTest, links_lead_to_places_in_the_tree) {
  MachineView view({machine(2), machine(2)}, tree());
  ASSERT_TRUE(view.write());
  std::size_t links = 0;
  for (const auto& entry : fs::recursive_directory_iterator(tree())) {
    if (!entry.is_symlink()) continue;
    ++links;
    EXPECT_TRUE(fs::read_symlink(entry).is_relative()) << entry.path();
    EXPECT_TRUE(fs::canonical(entry).native().starts_with(fs::canonical(tree()).native() + "/")) << entry.path();
  }
  EXPECT_EQ(links, 4U * 4 + 2U * 2);
  EXPECT_TRUE(fs::equivalent(tree() / "sys/bus/cpu/devices/cpu3/node1/cpu2", tree() / "sys/devices/system/cpu/cpu2"));
}

TEST_F(MachineViewTest, destructor_removes_what_was_written) {
  {
    MachineView view({machine(2)}, tree());
    ASSERT_TRUE(view.write());
    ASSERT_TRUE(fs::exists(tree() / "proc/stat"));
  }
  EXPECT_FALSE(fs::exists(tree()));
}

TEST_F(MachineViewTest, destructor_keeps_what_others_wrote) {
  fs::create_directory(tree());
  std::ofstream(tree() / "note") << "mine";
  {
    MachineView view({machine(1)}, tree());
    ASSERT_TRUE(view.write());
  }
  EXPECT_FALSE(fs::exists(tree() / "proc"));
  EXPECT_FALSE(fs::exists(tree() / "sys"));
  EXPECT_EQ(text_of(tree() / "note"), "mine");
}

TEST_F(MachineViewTest, write_refuses_a_directory_with_a_tree_and_leaves_it) {
  fs::create_directories(tree() / "sys");
  {
    MachineView view({machine(1)}, tree());
    const auto written = view.write();
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, ErrorCode::kExists);
  }
  EXPECT_TRUE(fs::exists(tree() / "sys"));
}

TEST_F(MachineViewTest, write_names_the_path_that_failed) {
  std::ofstream(top_ / "file") << "not a directory";
  MachineView view({machine(1)}, top_ / "file");
  const auto written = view.write();
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().message, testing::HasSubstr((top_ / "file").native()));
}

TEST(machine_view, redirect_covers_the_mirrored_paths_only) {
  const MachineView view({machine(1)}, "/tree");
  for (const auto* path : {"/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system/cpu",
                           "/sys/devices/system/cpu/cpu0/topology", "/sys/devices/system/node",
                           "/sys/devices/system/node/node7/cpulist", "/sys/bus/cpu", "/sys/bus/node/devices"}) {
    EXPECT_EQ(view.redirect(path), std::string("/tree") + path);
  }
  for (const auto* path : {"", "/", "/proc", "/proc/", "/proc/stat2", "/proc/self/stat", "/proc/1/stat", "/sys",
                           "/sys/devices/system", "/sys/devices/system/cpufreq", "/sys/bus", "/sys/bus/cpux",
                           "proc/stat", "./proc/stat", "/home/proc/stat", "/tree/proc/stat"}) {
    EXPECT_EQ(view.redirect(path), std::nullopt) << path;
  }
}

TEST(machine_view, redirect_normalises_slashes_and_single_dots) {
  const MachineView view({machine(1)}, "/tree");
  EXPECT_EQ(view.redirect("//proc///./cpuinfo"), "/tree/proc/cpuinfo");
  EXPECT_EQ(view.redirect("/./sys/devices/system/./cpu//online"), "/tree/sys/devices/system/cpu/online");
  EXPECT_EQ(view.redirect("/sys/devices/system/cpu/"), "/tree/sys/devices/system/cpu/");
  EXPECT_EQ(view.redirect("/sys/devices/system/cpu/."), "/tree/sys/devices/system/cpu/");
  EXPECT_EQ(view.redirect("/proc/cpuinfo/"), "/tree/proc/cpuinfo/");  // and the kernel says ENOTDIR
  EXPECT_EQ(view.redirect("/sys/devices/system/cpu/..."), "/tree/sys/devices/system/cpu/...");
}

TEST(machine_view, redirect_leaves_double_dots_alone) {
  const MachineView view({machine(1)}, "/tree");
  EXPECT_EQ(view.redirect("/proc/self/../cpuinfo"), std::nullopt);
  EXPECT_EQ(view.redirect("/sys/devices/system/cpu/.."), std::nullopt);
  EXPECT_EQ(view.redirect("/sys/devices/system/cpu/../node"), std::nullopt);
}

// What `command` prints, its status ignored.
std::string output_of(const std::string& command) {
  std::string text;
  std::FILE* pipe = ::popen(command.c_str(), "r");
  for (int c = 0; pipe != nullptr && (c = std::fgetc(pipe)) != EOF;) text += static_cast<char>(c);
  if (pipe != nullptr) ::pclose(pipe);
  return text;
}

TEST_F(MachineViewTest, lscpu_reads_the_tree_as_one_numa_machine) {
  MachineView view({machine(35), machine(2), machine(35)}, tree());
  ASSERT_TRUE(view.write());
  const auto text = output_of("LC_ALL=C lscpu --sysroot '" + tree().native() + "' 2>/dev/null");
  if (text.empty()) GTEST_SKIP() << "lscpu (util-linux) is not installed here, or it does not know --sysroot";
  EXPECT_THAT(text, testing::ContainsRegex("(^|\n)CPU\\(s\\): +72\n"));
  EXPECT_THAT(text, testing::ContainsRegex("\nSocket\\(s\\): +3\n"));
  EXPECT_THAT(text, testing::ContainsRegex("\nNUMA node\\(s\\): +3\n"));
  EXPECT_THAT(text, testing::ContainsRegex("\nNUMA node1 CPU\\(s\\): +35,36\n"));
}

}  // namespace
}  // namespace gallocy::personality
