#include "personality/processor_features.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace gallocy::personality {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A processor with avx2, bmi2, avx512f and lzcnt, and what those need.
CpuidAnswer made_up(std::uint32_t leaf, std::uint32_t subleaf) {
  if (leaf == 0) return {.eax = 7};
  if (leaf == 1) return {.ecx = 1U << 28 | 1U << 27};
  if (leaf == 7 && subleaf == 0) return {.ebx = 1U << 5 | 1U << 8 | 1U << 16};
  if (leaf == 0x80000000) return {.eax = 0x80000001};
  if (leaf == 0x80000001) return {.ecx = 1U << 5};
  return {~0U, ~0U, ~0U, ~0U};  // leaves that it does not have
}

TEST(processor_features, are_read_from_the_leaves_that_the_processor_has) {
  EXPECT_THAT(names_of(processor_features(made_up, 0xe7)), ElementsAre("avx", "avx2", "bmi2", "avx512f", "abm"));
}

TEST(processor_features, whose_registers_the_kernel_does_not_keep_are_not_there) {
  EXPECT_THAT(names_of(processor_features(made_up, 0x7)), ElementsAre("avx", "avx2", "bmi2", "abm"));
  EXPECT_THAT(names_of(processor_features(made_up, 0x3)), ElementsAre("bmi2", "abm"));
}

// Linux hides some that the processor has (a boot option, an erratum), but knows no more than it.
TEST(processor_features, of_this_machine_are_those_in_proc_cpuinfo) {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line) && !line.starts_with("flags")) {
  }
  std::istringstream words(line);
  const FeatureSet& here = features_here();
  FeatureSet told;
  for (std::string word; words >> word;) told |= features_named(word);
  EXPECT_THAT(names_of(told & ~here), IsEmpty());
  EXPECT_TRUE(told.any());
}

TEST(processor_features, names_that_are_none_are_left_out) {
  EXPECT_THAT(names_of(features_named("bmi2,,avx2,nonsense,avx2 ")), ElementsAre("avx2", "bmi2"));
  EXPECT_THAT(names_of(features_named("")), IsEmpty());
}

TEST(processor_features, hidden_ones_are_missing_in_the_answer_of_their_leaf_only) {
  const FeatureSet hidden = features_named("avx2,avx_vnni,abm,fma");
  const auto bits_lost = [&](std::uint32_t leaf, std::uint32_t subleaf) {
    CpuidAnswer answer{~0U, ~0U, ~0U, ~0U};
    hide(hidden, leaf, subleaf, answer);
    return std::array{~answer.eax, ~answer.ebx, ~answer.ecx, ~answer.edx};
  };
  EXPECT_THAT(bits_lost(7, 0), ElementsAre(0U, 1U << 5, 0U, 0U));
  EXPECT_THAT(bits_lost(7, 1), ElementsAre(1U << 4, 0U, 0U, 0U));
  EXPECT_THAT(bits_lost(7, 2), ElementsAre(0U, 0U, 0U, 0U));
  EXPECT_THAT(bits_lost(1, 0), ElementsAre(0U, 0U, 1U << 12, 0U));
  EXPECT_THAT(bits_lost(1, 99), ElementsAre(0U, 0U, 1U << 12, 0U)) << "leaf 1 has no subleaves";
  EXPECT_THAT(bits_lost(0x80000001, 0), ElementsAre(0U, 0U, 1U << 5, 0U));
  EXPECT_THAT(bits_lost(4, 0), ElementsAre(0U, 0U, 0U, 0U));
}

TEST(processor_features, hidden_ones_are_missing_in_cpuinfo) {
  const std::string block = "processor\t: 0\nflags\t\t: fpu avx avx2 avx512f bmi2\nbugs\t\t: avx2\n";
  EXPECT_EQ(hide(features_named("avx2,bmi2"), block), "processor\t: 0\nflags\t\t: fpu avx avx512f\nbugs\t\t: avx2\n");
  EXPECT_EQ(hide({}, block), block);
}

TEST(processor_features, tunables_of_the_user_stay) {
  const FeatureSet hidden = features_named("abm,avx2");
  const std::string without = "-AVX2,-AVX2_Usable,-LZCNT,-LZCNT_Usable";
  EXPECT_EQ(hiding_tunables(hidden, ""), "glibc.cpu.hwcaps=" + without);
  EXPECT_EQ(hiding_tunables(hidden, "glibc.malloc.arena_max=1"),
            "glibc.malloc.arena_max=1:glibc.cpu.hwcaps=" + without);
  EXPECT_EQ(hiding_tunables(hidden, "glibc.cpu.hwcaps=-ERMS:glibc.malloc.check=1"),
            "glibc.cpu.hwcaps=-ERMS," + without + ":glibc.malloc.check=1");
}

}  // namespace
}  // namespace gallocy::personality
