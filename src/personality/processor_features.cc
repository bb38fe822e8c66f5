#include "personality/processor_features.h"

#include <cpuid.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <iterator>

namespace gallocy::personality {
namespace {

enum class Register : std::uint8_t { kA, kB, kC, kD };
using enum Register;

// Parts of the register state (Intel SDM volume 1, 13.1).
constexpr std::uint64_t kYmm = 0x6, kZmm = 0xe6, kTile = 0x60000;

struct Feature {
  std::string_view name;
  std::uint32_t leaf, subleaf;
  Register where;
  std::uint8_t bit;
  std::uint64_t state = 0;  // that it works on
};

// Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E.
constexpr Feature kFeatures[] = {
    {"pni", 1, 0, kC, 0},
    {"pclmulqdq", 1, 0, kC, 1},
    {"ssse3", 1, 0, kC, 9},
    {"fma", 1, 0, kC, 12, kYmm},
    {"cx16", 1, 0, kC, 13},
    {"sse4_1", 1, 0, kC, 19},
    {"sse4_2", 1, 0, kC, 20},
    {"movbe", 1, 0, kC, 22},
    {"popcnt", 1, 0, kC, 23},
    {"aes", 1, 0, kC, 25},
    {"xsave", 1, 0, kC, 26},
    {"avx", 1, 0, kC, 28, kYmm},
    {"f16c", 1, 0, kC, 29, kYmm},
    {"rdrand", 1, 0, kC, 30},
    {"bmi1", 7, 0, kB, 3},
    {"hle", 7, 0, kB, 4},
    {"avx2", 7, 0, kB, 5, kYmm},
    {"bmi2", 7, 0, kB, 8},
    {"erms", 7, 0, kB, 9},
    {"rtm", 7, 0, kB, 11},
    {"avx512f", 7, 0, kB, 16, kZmm},
    {"avx512dq", 7, 0, kB, 17, kZmm},
    {"rdseed", 7, 0, kB, 18},
    {"adx", 7, 0, kB, 19},
    {"avx512ifma", 7, 0, kB, 21, kZmm},
    {"clflushopt", 7, 0, kB, 23},
    {"clwb", 7, 0, kB, 24},
    {"avx512pf", 7, 0, kB, 26, kZmm},
    {"avx512er", 7, 0, kB, 27, kZmm},
    {"avx512cd", 7, 0, kB, 28, kZmm},
    {"sha_ni", 7, 0, kB, 29},
    {"avx512bw", 7, 0, kB, 30, kZmm},
    {"avx512vl", 7, 0, kB, 31, kZmm},
    {"avx512vbmi", 7, 0, kC, 1, kZmm},
    {"ospke", 7, 0, kC, 4},
    {"waitpkg", 7, 0, kC, 5},
    {"avx512_vbmi2", 7, 0, kC, 6, kZmm},
    {"gfni", 7, 0, kC, 8},
    {"vaes", 7, 0, kC, 9, kYmm},
    {"vpclmulqdq", 7, 0, kC, 10, kYmm},
    {"avx512_vnni", 7, 0, kC, 11, kZmm},
    {"avx512_bitalg", 7, 0, kC, 12, kZmm},
    {"avx512_vpopcntdq", 7, 0, kC, 14, kZmm},
    {"rdpid", 7, 0, kC, 22},
    {"cldemote", 7, 0, kC, 25},
    {"movdiri", 7, 0, kC, 27},
    {"movdir64b", 7, 0, kC, 28},
    {"avx512_4vnniw", 7, 0, kD, 2, kZmm},
    {"avx512_4fmaps", 7, 0, kD, 3, kZmm},
    {"fsrm", 7, 0, kD, 4},
    {"avx512_vp2intersect", 7, 0, kD, 8, kZmm},
    {"serialize", 7, 0, kD, 14},
    {"tsxldtrk", 7, 0, kD, 16},
    {"amx_bf16", 7, 0, kD, 22, kTile},
    {"avx512_fp16", 7, 0, kD, 23, kZmm},
    {"amx_tile", 7, 0, kD, 24, kTile},
    {"amx_int8", 7, 0, kD, 25, kTile},
    {"sha512", 7, 1, kA, 0, kYmm},
    {"sm3", 7, 1, kA, 1, kYmm},
    {"sm4", 7, 1, kA, 2, kYmm},
    {"avx_vnni", 7, 1, kA, 4, kYmm},
    {"avx512_bf16", 7, 1, kA, 5, kZmm},
    {"cmpccxadd", 7, 1, kA, 7},
    {"amx_fp16", 7, 1, kA, 21, kTile},
    {"avx_ifma", 7, 1, kA, 23, kYmm},
    {"avx_vnni_int8", 7, 1, kD, 4, kYmm},
    {"avx_ne_convert", 7, 1, kD, 5, kYmm},
    {"avx_vnni_int16", 7, 1, kD, 10, kYmm},
    {"avx10", 7, 1, kD, 19, kZmm},
    {"xsaveopt", 0xd, 1, kA, 0},
    {"xsavec", 0xd, 1, kA, 1},
    {"xgetbv1", 0xd, 1, kA, 2},
    {"lahf_lm", 0x80000001, 0, kC, 0},
    {"abm", 0x80000001, 0, kC, 5},
    {"sse4a", 0x80000001, 0, kC, 6},
    {"misalignsse", 0x80000001, 0, kC, 7},
    {"3dnowprefetch", 0x80000001, 0, kC, 8},
    {"xop", 0x80000001, 0, kC, 11, kYmm},
    {"fma4", 0x80000001, 0, kC, 16, kYmm},
    {"tbm", 0x80000001, 0, kC, 21},
    {"mwaitx", 0x80000001, 0, kC, 29},
    {"rdtscp", 0x80000001, 0, kD, 27},
    {"clzero", 0x80000008, 0, kB, 0},
};
static_assert(std::size(kFeatures) <= kMostFeatures);

std::uint32_t& part(CpuidAnswer& answer, Register where) {
  return where == kA ? answer.eax : where == kB ? answer.ebx : where == kC ? answer.ecx : answer.edx;
}

// Nothing where there is no such leaf: those beyond the last one of their kind repeat others (Intel) or are zero (AMD).
CpuidAnswer ask(Cpuid cpuid, std::uint32_t leaf, std::uint32_t subleaf) {
  if (cpuid(leaf & 0x80000000, 0).eax < leaf) return {};
  if (leaf == 7 && subleaf > cpuid(leaf, 0).eax) return {};
  return cpuid(leaf, subleaf);
}
bool has_subleaves(std::uint32_t leaf) { return leaf == 7 || leaf == 0xd; }

// The words of a list, one by one.
template <typename F>
void for_each_word(std::string_view list, char between, F f) {
  while (!list.empty()) {
    const std::string_view word = list.substr(0, list.find(between));
    list.remove_prefix(std::min(list.size(), word.size() + 1));
    if (!word.empty()) f(word);
  }
}

// What the C library calls it (sysdeps/x86/cpu-tunables.c); it passes over names that it does not know.
std::string library_name(std::string_view name) {
  if (name == "pni") return "SSE3";
  if (name == "abm") return "LZCNT";
  std::string text(name);
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

}  // namespace

CpuidAnswer cpuid_here(std::uint32_t leaf, std::uint32_t subleaf) {
  CpuidAnswer a;
  __cpuid_count(leaf, subleaf, a.eax, a.ebx, a.ecx, a.edx);
  return a;
}

std::uint64_t enabled_state_here() {
  constexpr std::uint32_t kReadable = 1 << 27;  // OSXSAVE
  if ((cpuid_here(1, 0).ecx & kReadable) == 0) return 0;
  std::uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

FeatureSet processor_features(Cpuid cpuid, std::uint64_t enabled_state) {
  FeatureSet features;
  // Those of one leaf stand together, and it is asked for once: on a virtual machine each CPUID takes some 5 us.
  const Feature* asked = nullptr;
  CpuidAnswer answer;
  for (std::size_t i = 0; i < std::size(kFeatures); ++i) {
    const Feature& f = kFeatures[i];
    if (asked == nullptr || asked->leaf != f.leaf || asked->subleaf != f.subleaf)
      asked = &f, answer = ask(cpuid, f.leaf, f.subleaf);
    features[i] = (f.state & ~enabled_state) == 0 && (part(answer, f.where) >> f.bit & 1) != 0;
  }
  return features;
}

const FeatureSet& features_here() {
  static const FeatureSet features = processor_features(cpuid_here, enabled_state_here());
  return features;
}

FeatureSet features_named(std::string_view list) {
  FeatureSet features;
  for_each_word(list, ',', [&](std::string_view word) {
    const auto* const found = std::ranges::find(kFeatures, word, &Feature::name);
    if (found != std::end(kFeatures)) features.set(static_cast<std::size_t>(found - kFeatures));
  });
  return features;
}

std::vector<std::string> names_of(const FeatureSet& features) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < std::size(kFeatures); ++i) {
    if (features[i]) names.emplace_back(kFeatures[i].name);
  }
  return names;
}

void hide(const FeatureSet& hidden, std::uint32_t leaf, std::uint32_t subleaf, CpuidAnswer& answer) {
  for (std::size_t i = 0; i < std::size(kFeatures); ++i) {
    const Feature& f = kFeatures[i];
    if (!hidden[i] || f.leaf != leaf || (has_subleaves(leaf) && f.subleaf != subleaf)) continue;
    part(answer, f.where) &= ~(std::uint32_t{1} << f.bit);
  }
}

std::string hide(const FeatureSet& hidden, std::string_view cpuinfo) {
  const std::vector<std::string> names = names_of(hidden);
  std::string text;
  while (!cpuinfo.empty()) {
    const std::string_view line = cpuinfo.substr(0, cpuinfo.find('\n'));
    cpuinfo.remove_prefix(std::min(cpuinfo.size(), line.size() + 1));
    const std::size_t colon = line.find(':');
    if (!line.starts_with("flags") || colon == std::string_view::npos) {
      text.append(line);
    } else {
      text.append(line.substr(0, colon + 1));
      for_each_word(line.substr(colon + 1), ' ', [&](std::string_view word) {
        if (std::ranges::find(names, word) == names.end()) text.append(" ").append(word);
      });
    }
    text += '\n';
  }
  return text;
}

std::string hiding_tunables(const FeatureSet& hidden, std::string_view present) {
  constexpr std::string_view kTunable = "glibc.cpu.hwcaps=";
  std::string without;
  for (const std::string& name : names_of(hidden)) {
    const std::string known = library_name(name);
    fmt::format_to(std::back_inserter(without), "{}-{},-{}_Usable", without.empty() ? "" : ",", known, known);
  }
  std::string value;
  bool extended = false;
  for_each_word(present, ':', [&](std::string_view word) {
    fmt::format_to(std::back_inserter(value), "{}{}", value.empty() ? "" : ":", word);
    if (!word.starts_with(kTunable)) return;
    value += ',' + without;
    extended = true;
  });
  if (!extended) fmt::format_to(std::back_inserter(value), "{}{}{}", value.empty() ? "" : ":", kTunable, without);
  return value;
}

}  // namespace gallocy::personality
