// The contents of the files that MachineView writes, as pure functions of the nodes' facts. `nodes` has node i at index
// i everywhere; memory is in bytes in the facts and in kB (1024 bytes) in the texts, as the kernel has it. A text ends
// with a newline.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "personality/machine_facts.h"

namespace gallocy::personality {

// Processor or node numbers, ascending, as the kernel prints sets of them: "0-2,5", and "27" (hexadecimal words of 32
// bits, most significant first, as wide as `total` numbers need).
std::string list_text(const std::vector<unsigned>& numbers);
std::string mask_text(const std::vector<unsigned>& numbers, unsigned total);

// The processors first, first + 1, …, count of them.
std::vector<unsigned> number_range(unsigned first, unsigned count);

std::string cpuinfo_text(std::span<const MachineFacts> nodes);  // /proc/cpuinfo
std::string meminfo_text(std::span<const MachineFacts> nodes);  // /proc/meminfo
// /proc/stat: node 0's boot time, because the process and its start time are there; all idle since the boot.
std::string stat_text(std::span<const MachineFacts> nodes);
std::string node_meminfo_text(NodeId node, const MachineFacts& facts);  // …/nodeN/meminfo
std::string node_numastat_text();                                       // …/nodeN/numastat, nothing counted yet
std::string distance_text(NodeId node, unsigned nodes);  // …/nodeN/distance: 10 to itself, 20 to others

}  // namespace gallocy::personality
