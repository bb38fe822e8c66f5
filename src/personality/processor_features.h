// What the processors of all nodes can do in common. A library chooses its code once, by the processor that it finds,
// and then all nodes run that code: so a program must not be shown what one of them lacks. Pure but for reading this
// processor's own.
//
// Features have Linux's names (/proc/cpuinfo). Only those matter here that are instructions of programs.
#pragma once

#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gallocy::personality {

inline constexpr std::size_t kMostFeatures = 128;
using FeatureSet = std::bitset<kMostFeatures>;  // by place in the table

// The instruction CPUID.
struct CpuidAnswer {
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};
using Cpuid = CpuidAnswer (*)(std::uint32_t leaf, std::uint32_t subleaf);
CpuidAnswer cpuid_here(std::uint32_t leaf, std::uint32_t subleaf);
std::uint64_t enabled_state_here();  // XCR0: the registers that the kernel keeps for programs

// A feature whose registers the kernel does not keep is not there.
FeatureSet processor_features(Cpuid cpuid, std::uint64_t enabled_state);
const FeatureSet& features_here();  // this processor's

// "avx2,bmi2"; words that are no features are left out.
FeatureSet features_named(std::string_view list);
std::vector<std::string> names_of(const FeatureSet& features);

// What CPUID says once they are hidden.
void hide(const FeatureSet& hidden, std::uint32_t leaf, std::uint32_t subleaf, CpuidAnswer& answer);
// A block of /proc/cpuinfo without them.
std::string hide(const FeatureSet& hidden, std::string_view cpuinfo);
// The value of GLIBC_TUNABLES with which the C library, from version 2.26 on, does without them. `present` is the
// user's.
std::string hiding_tunables(const FeatureSet& hidden, std::string_view present);

}  // namespace gallocy::personality
