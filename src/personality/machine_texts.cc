#include "personality/machine_texts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <numeric>
#include <string_view>
#include <utility>

namespace gallocy::personality {
namespace {

constexpr unsigned kMaskWordBits = 32;
constexpr unsigned kTicksPerSecond = 100;  // USER_HZ
constexpr unsigned kLocalDistance = 10;
constexpr unsigned kRemoteDistance = 20;

struct Memory {
  std::uint64_t total_kb = 0;
  std::uint64_t free_kb = 0;
  std::uint64_t used_kb() const { return total_kb - free_kb; }
};

Memory memory_of(std::span<const MachineFacts> nodes) {
  Memory sum;
  for (const auto& node : nodes) {
    sum.total_kb += node.memory_bytes / 1024;
    sum.free_kb += std::min(node.free_bytes, node.memory_bytes) / 1024;
  }
  return sum;
}

// The lines of meminfo in the kernel's order. All that is used counts as the programs' own pages: the page caches of
// the nodes are not this machine's. There is no swap and there are no huge pages.
constexpr std::string_view kMeminfoNames[] = {
    "MemTotal",        "MemFree",        "MemAvailable",   "Buffers",        "Cached",
    "SwapCached",      "Active",         "Inactive",       "Active(anon)",   "Inactive(anon)",
    "Active(file)",    "Inactive(file)", "Unevictable",    "Mlocked",        "SwapTotal",
    "SwapFree",        "Zswap",          "Zswapped",       "Dirty",          "Writeback",
    "AnonPages",       "Mapped",         "Shmem",          "KReclaimable",   "Slab",
    "SReclaimable",    "SUnreclaim",     "KernelStack",    "PageTables",     "SecPageTables",
    "NFS_Unstable",    "Bounce",         "WritebackTmp",   "CommitLimit",    "Committed_AS",
    "VmallocTotal",    "VmallocUsed",    "VmallocChunk",   "Percpu",         "HardwareCorrupted",
    "AnonHugePages",   "ShmemHugePages", "ShmemPmdMapped", "FileHugePages",  "FilePmdMapped",
    "HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp", "Hugepagesize",
    "Hugetlb",         "DirectMap4k",    "DirectMap2M",    "DirectMap1G"};
constexpr std::string_view kNodeMeminfoNames[] = {
    "MemTotal",       "MemFree",        "MemUsed",       "SwapCached",      "Active",         "Inactive",
    "Active(anon)",   "Inactive(anon)", "Active(file)",  "Inactive(file)",  "Unevictable",    "Mlocked",
    "Dirty",          "Writeback",      "FilePages",     "Mapped",          "AnonPages",      "Shmem",
    "KernelStack",    "PageTables",     "SecPageTables", "NFS_Unstable",    "Bounce",         "WritebackTmp",
    "KReclaimable",   "Slab",           "SReclaimable",  "SUnreclaim",      "AnonHugePages",  "ShmemHugePages",
    "ShmemPmdMapped", "FileHugePages",  "FilePmdMapped", "HugePages_Total", "HugePages_Free", "HugePages_Surp"};

std::uint64_t meminfo_kb(std::string_view name, const Memory& memory) {
  if (name == "MemTotal" || name == "CommitLimit" || name == "DirectMap4k") return memory.total_kb;
  if (name == "MemFree" || name == "MemAvailable") return memory.free_kb;
  if (name == "MemUsed" || name == "AnonPages" || name == "Committed_AS") return memory.used_kb();
  if (name == "Active" || name == "Active(anon)") return memory.used_kb();
  if (name == "VmallocTotal") return (std::uint64_t{1} << 35) - 1;
  return name == "Hugepagesize" ? 2048 : 0;
}

// "MemTotal:       24684084 kB": name and number fill 24 columns, but there are two columns less of HugePages_… in a
// node's file, and those count pages.
std::string meminfo_lines(std::span<const std::string_view> names, const Memory& memory, std::string_view prefix) {
  std::string text;
  for (const auto name : names) {
    const bool counts_pages = name.starts_with("HugePages_");
    const std::size_t columns = counts_pages && !prefix.empty() ? 22 : 24;
    const std::size_t name_columns = std::max<std::size_t>(name.size() + 1, 16);
    fmt::format_to(std::back_inserter(text), "{}{:<{}}{:>{}}{}\n", prefix, fmt::format("{}:", name), name_columns,
                   meminfo_kb(name, memory), columns - name_columns, counts_pages ? "" : " kB");
  }
  return text;
}

// One processor's block: the node's own, with the numbers that say which processor it is replaced.
std::string cpuinfo_block(const MachineFacts& facts, unsigned node, unsigned processor, unsigned core) {
  const std::array<std::pair<std::string_view, unsigned>, 7> numbers{{{"processor", processor},
                                                                      {"physical id", node},
                                                                      {"siblings", facts.processors},
                                                                      {"core id", core},
                                                                      {"cpu cores", facts.core_count()},
                                                                      {"apicid", processor},
                                                                      {"initial apicid", processor}}};
  std::string block;
  std::string_view rest = facts.cpuinfo;
  while (!rest.empty()) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const auto colon = std::min(line.find(':'), line.size());
    const auto name = line.substr(0, line.find_last_not_of("\t ", colon - 1) + 1);
    const auto* found = std::ranges::find(numbers, name, &std::pair<std::string_view, unsigned>::first);
    if (found == numbers.end()) {
      fmt::format_to(std::back_inserter(block), "{}\n", line);
    } else {
      fmt::format_to(std::back_inserter(block), "{}: {}\n", line.substr(0, colon), found->second);
    }
  }
  return block + '\n';
}

}  // namespace

std::string list_text(const std::vector<unsigned>& numbers) {
  std::string text;
  for (std::size_t i = 0; i < numbers.size();) {
    std::size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    fmt::format_to(std::back_inserter(text), "{}{}", i == 0 ? "" : ",", numbers[i]);
    if (last > i) fmt::format_to(std::back_inserter(text), "-{}", numbers[last]);
    i = last + 1;
  }
  return text + '\n';
}

std::string mask_text(const std::vector<unsigned>& numbers, unsigned total) {
  std::vector<std::uint32_t> words((std::max(total, 1U) + kMaskWordBits - 1) / kMaskWordBits);
  for (const unsigned number : numbers) words[number / kMaskWordBits] |= 1U << (number % kMaskWordBits);
  const unsigned top_bits = std::max(total, 1U) - kMaskWordBits * static_cast<unsigned>(words.size() - 1);
  std::string text = fmt::format("{:0{}x}", words.back(), (top_bits + 3) / 4);
  for (std::size_t i = words.size() - 1; i-- > 0;) fmt::format_to(std::back_inserter(text), ",{:08x}", words[i]);
  return text + '\n';
}

std::vector<unsigned> number_range(unsigned first, unsigned count) {
  std::vector<unsigned> numbers(count);
  std::iota(numbers.begin(), numbers.end(), first);
  return numbers;
}

std::string cpuinfo_text(std::span<const MachineFacts> nodes) {
  std::string text;
  unsigned processor = 0;
  for (unsigned node = 0; node < nodes.size(); ++node) {
    for (unsigned k = 0; k < nodes[node].processors; ++k) {
      text += cpuinfo_block(nodes[node], node, processor++, nodes[node].core_of(k));
    }
  }
  return text;
}

std::string meminfo_text(std::span<const MachineFacts> nodes) {
  return meminfo_lines(kMeminfoNames, memory_of(nodes), "");
}

std::string stat_text(std::span<const MachineFacts> nodes) {
  std::uint64_t idle_ticks = 0;
  std::string each;
  unsigned processor = 0;
  for (const auto& node : nodes) {
    for (unsigned k = 0; k < node.processors; ++k) {
      idle_ticks += node.up_seconds * kTicksPerSecond;
      fmt::format_to(std::back_inserter(each), "cpu{} 0 0 0 {} 0 0 0 0 0 0\n", processor++,
                     node.up_seconds * kTicksPerSecond);
    }
  }
  return fmt::format(
      "cpu  0 0 0 {} 0 0 0 0 0 0\n{}intr 0\nctxt 0\nbtime {}\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n"
      "softirq 0 0 0 0 0 0 0 0 0 0 0\n",
      idle_ticks, each, nodes.front().boot_unix_seconds);
}

std::string node_meminfo_text(NodeId node, const MachineFacts& facts) {
  return meminfo_lines(kNodeMeminfoNames, memory_of(std::span(&facts, 1)), fmt::format("Node {} ", node));
}

std::string node_numastat_text() {
  return "numa_hit 0\nnuma_miss 0\nnuma_foreign 0\ninterleave_hit 0\nlocal_node 0\nother_node 0\n";
}

std::string distance_text(NodeId node, unsigned nodes) {
  std::string text;
  for (unsigned other = 0; other < nodes; ++other) {
    if (other != 0) text += ' ';
    text += std::to_string(other == node.value ? kLocalDistance : kRemoteDistance);
  }
  return text + '\n';
}

}  // namespace gallocy::personality
