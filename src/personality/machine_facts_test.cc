#include "personality/machine_facts.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "personality/processors.h"

namespace gallocy::personality {
namespace {

MachineFacts sample() {
  return {.processors = 3,
          .cores = {0, 0, 1},
          .memory_bytes = 1 << 30,
          .free_bytes = 1 << 20,
          .boot_unix_seconds = 1'700'000'000,
          .up_seconds = 60,
          .cpuinfo = "processor\t: 0\nmodel name\t: Abacus\n",
          .kernel_release = "6.1.0-18-amd64",
          .caches = {{.level = 1, .type = CacheType::kData, .bytes = 48 << 10, .sets = 64, .ways = 12},
                     {.level = 3, .bytes = 32 << 20, .sets = 32768, .ways = 16, .sharing_cores = 2}}};
}

// A root directory with proc and sys, removed at the end.
class MachineFactsFiles : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "/machine_facts_XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }

  std::filesystem::path root_;
};

TEST(machine_facts, decode_gives_what_was_encoded) { EXPECT_EQ(decode(encode(sample())), sample()); }

TEST(machine_facts, cores_not_told_are_one_for_each_processor) {
  MachineFacts facts{.processors = 3};
  EXPECT_EQ(facts.core_count(), 3U);
  EXPECT_EQ(facts.core_of(2), 2U);
  const auto decoded = decode(encode(facts));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->core_count(), 3U);
  EXPECT_EQ(decoded->core_of(2), 2U);
}

TEST(machine_facts, decode_refuses_each_shorter_length_and_a_longer_one) {
  auto bytes = encode(sample());
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(decode(std::span(bytes).first(length))) << length;
  }
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(decode(bytes));
}

TEST(machine_facts, decode_survives_every_changed_byte) {
  const auto bytes = encode(sample());
  for (std::size_t place = 0; place < bytes.size(); ++place) {
    for (const unsigned value : {0x00U, 0x01U, 0x7fU, 0x80U, 0xffU}) {
      auto changed = bytes;
      changed[place] = static_cast<std::byte>(value);
      const auto facts = decode(changed);
      if (!facts) continue;
      EXPECT_EQ(facts->cores.size(), facts->processors);
      EXPECT_LE(facts->core_count(), facts->processors);
      EXPECT_LE(facts->free_bytes, facts->memory_bytes);
    }
  }
}

TEST(machine_facts, decode_refuses_numbers_out_of_bounds) {
  const auto refused = [](auto change) {
    auto facts = sample();
    change(facts);
    return !decode(encode(facts));
  };
  EXPECT_TRUE(refused([](auto& facts) { facts.processors = 0; }));
  EXPECT_TRUE(refused([](auto& facts) {
    facts.cores.clear();
    facts.processors = kMaxNodeProcessors + 1;
  }));
  EXPECT_TRUE(refused([](auto& facts) { facts.cores = {0, 2, 1}; }));
  EXPECT_TRUE(refused([](auto& facts) { facts.free_bytes = facts.memory_bytes + 1; }));
  EXPECT_TRUE(refused([](auto& facts) { facts.caches[0].level = 5; }));
  EXPECT_TRUE(refused([](auto& facts) { facts.caches[0].type = static_cast<CacheType>(3); }));
  EXPECT_TRUE(refused([](auto& facts) { facts.caches[1].sharing_cores = 0; }));
  EXPECT_TRUE(refused([](auto& facts) { facts.caches.resize(kMaxNodeCaches + 1, facts.caches[0]); }));
}

TEST(machine_facts, this_machine_can_be_told_to_another) {
  constexpr std::uint64_t kBudgetBytes = 64 << 20;
  const auto facts = machine_facts(kBudgetBytes);
  EXPECT_EQ(facts.processors, usable_processors().size());
  EXPECT_EQ(facts.memory_bytes, kBudgetBytes);
  EXPECT_LE(facts.free_bytes, kBudgetBytes);
  EXPECT_TRUE(facts.cpuinfo.starts_with("processor"));
  EXPECT_TRUE(facts.cpuinfo.ends_with('\n'));
  EXPECT_EQ(facts.cpuinfo.find("\n\n"), std::string::npos);
  EXPECT_FALSE(facts.kernel_release.empty());
  EXPECT_EQ(decode(encode(facts)), facts);
}

TEST_F(MachineFactsFiles, empty_root_gives_a_bare_processor_block_and_no_caches) {
  const auto facts = machine_facts(1 << 20, root_);
  EXPECT_TRUE(facts.cpuinfo.starts_with("processor\t: 0\n")) << facts.cpuinfo;
  EXPECT_TRUE(facts.caches.empty());
  EXPECT_EQ(facts.core_count(), facts.processors);
  EXPECT_TRUE(decode(encode(facts)));
}

TEST_F(MachineFactsFiles, files_are_read_for_the_first_usable_processor) {
  const auto cpu = std::to_string(usable_processors().front());
  put("proc/cpuinfo", "processor\t: 9999\nmodel name\t: Other\n\nprocessor\t: " + cpu + "\nmodel name\t: Mine\n\n");
  put("proc/stat", "cpu  1 2 3\nintr 5\nbtime 1700000000\n");
  put("proc/uptime", "3661.25 99.00\n");
  const auto cache = "sys/devices/system/cpu/cpu" + cpu + "/cache/index0/";
  put(cache + "level", "2\n");
  put(cache + "type", "Instruction\n");
  put(cache + "size", "2048K\n");
  put(cache + "coherency_line_size", "128\n");
  put(cache + "number_of_sets", "2048\n");
  put(cache + "ways_of_associativity", "8\n");
  put(cache + "shared_cpu_list", cpu + "\n");
  const auto facts = machine_facts(1 << 20, root_);
  EXPECT_EQ(facts.cpuinfo, "processor\t: " + cpu + "\nmodel name\t: Mine\n");
  EXPECT_EQ(facts.boot_unix_seconds, 1'700'000'000U);
  EXPECT_EQ(facts.up_seconds, 3661U);
  ASSERT_EQ(facts.caches.size(), 1U);
  EXPECT_EQ(facts.caches[0], (CacheFacts{.level = 2,
                                         .type = CacheType::kInstruction,
                                         .bytes = 2 << 20,
                                         .line_bytes = 128,
                                         .sets = 2048,
                                         .ways = 8,
                                         .sharing_cores = 1}));
}

TEST_F(MachineFactsFiles, processors_that_are_siblings_have_one_core) {
  const auto usable = usable_processors();
  if (usable.size() < 2) GTEST_SKIP() << "only one processor may be used here";
  // A list that covers every processor makes all of them threads of one core, which shares the cache with nobody.
  for (const unsigned cpu : usable) {
    put("sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list", "0-4,5,6-1023\n");
  }
  const auto cache = "sys/devices/system/cpu/cpu" + std::to_string(usable.front()) + "/cache/index0/";
  put(cache + "level", "1\n");
  put(cache + "shared_cpu_list", "0-1023\n");
  const auto facts = machine_facts(1 << 20, root_);
  EXPECT_EQ(facts.processors, usable.size());
  EXPECT_EQ(facts.core_count(), 1U);
  ASSERT_EQ(facts.caches.size(), 1U);
  EXPECT_EQ(facts.caches[0].sharing_cores, 1U);
}

}  // namespace
}  // namespace gallocy::personality
