#include "os/machine.h"

#include <gmock/gmock.h>
#include <stdlib.h>

#include <fstream>
#include <set>

#include "os/build_id.h"

namespace gallocy::os {
namespace {

namespace fs = std::filesystem;

// A made-up proc and sys.
class MadeUpRoot : public testing::Test {
 protected:
  MadeUpRoot() {
    char name[] = "/tmp/gallocy-machine-XXXXXX";
    root_ = ::mkdtemp(name);
    write("proc/meminfo", "MemTotal:       1048576 kB\nMemFree:  1 kB\nMemAvailable:   524288 kB\n");
  }
  ~MadeUpRoot() override { fs::remove_all(root_); }
  void write(const fs::path& file, const std::string& text) const {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }
  fs::path root_;
};

using MemorySizeTest = MadeUpRoot;
using UsableCoresTest = MadeUpRoot;
constexpr std::uint64_t kMiB = 1 << 20;

TEST_F(MemorySizeTest, without_groups_is_the_machines) {
  const MemorySize size = memory_size(root_);
  EXPECT_EQ(size.total_bytes, 1024 * kMiB);
  EXPECT_EQ(size.available_bytes, 512 * kMiB);
  EXPECT_FALSE(size.limited_by_group);
}

TEST_F(MemorySizeTest, version_two_group_limits_and_its_cache_is_available) {
  write("proc/self/cgroup", "0::/a/b\n");
  write("sys/fs/cgroup/a/memory.max", "268435456\n");
  write("sys/fs/cgroup/a/memory.current", "201326592\n");
  write("sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 134217728\n");
  write("sys/fs/cgroup/a/b/memory.max", "max\n");
  const MemorySize size = memory_size(root_);
  EXPECT_EQ(size.total_bytes, 256 * kMiB);
  EXPECT_EQ(size.available_bytes, 192 * kMiB);  // 256 - (192 - 128)
  EXPECT_TRUE(size.limited_by_group);
}

TEST_F(MemorySizeTest, version_one_group_beside_version_two) {
  write("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/job/step\n0::/\n");
  write("sys/fs/cgroup/unified/cgroup.procs", "");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("sys/fs/cgroup/memory/job/step/memory.limit_in_bytes", "104857600\n");
  write("sys/fs/cgroup/memory/job/step/memory.usage_in_bytes", "209715200\n");  // over its limit
  const MemorySize size = memory_size(root_);
  EXPECT_EQ(size.total_bytes, 100 * kMiB);
  EXPECT_EQ(size.available_bytes, 0u);
}

// In a container the path of the group may be the host's, of which only the top is mounted.
TEST_F(MemorySizeTest, group_path_that_is_not_visible_falls_back_to_the_mounted_one) {
  write("proc/self/cgroup", "0::/docker/0123\n");
  write("sys/fs/cgroup/memory.max", "134217728\n");
  EXPECT_EQ(memory_size(root_).total_bytes, 128 * kMiB);
}

TEST_F(UsableCoresTest, quota_counts_rounded_up) {
  const unsigned all = usable_cores(root_);
  EXPECT_GE(all, 1u);
  write("proc/self/cgroup", "0::/a\n");
  write("sys/fs/cgroup/a/cpu.max", "max 100000\n");
  EXPECT_EQ(usable_cores(root_), all);
  write("sys/fs/cgroup/a/cpu.max", "50000 100000\n");
  EXPECT_EQ(usable_cores(root_), 1u);
  write("sys/fs/cgroup/a/cpu.max", "150000 100000\n");
  EXPECT_EQ(usable_cores(root_), std::min(all, 2u));
}

TEST(MachineTest, this_machine_is_examined) {
  std::set<std::string> names;
  for (const MachineFact& fact : examine_machine()) {
    EXPECT_TRUE(names.insert(fact.name).second) << fact.name;
    EXPECT_FALSE(fact.value.empty()) << fact.name;
    EXPECT_EQ(fact.verdict == Verdict::kOk, fact.advice.empty()) << fact.name << ": " << fact.advice;
  }
  EXPECT_GE(names.size(), 15u);
  EXPECT_GE(memory_size().total_bytes, memory_size().available_bytes);
}

TEST(BuildIdTest, is_the_same_within_a_program) {
  EXPECT_EQ(build_id().size(), 32u);
  EXPECT_EQ(build_id(), build_id());
  EXPECT_EQ(build_id().find_first_not_of("0123456789abcdef"), std::string::npos);
}

}  // namespace
}  // namespace gallocy::os
