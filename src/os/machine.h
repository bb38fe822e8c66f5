// What this machine offers: for `gallocy doctor`, which prints it, and for the runtime's defaults.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace gallocy::os {

// Memory that this process may use: the machine's, or less where a control group (v1 or v2, any ancestor) limits it.
struct MemorySize {
  std::uint64_t total_bytes = 0;
  std::uint64_t available_bytes = 0;  // without swapping; caches that can be given up count as available
  bool limited_by_group = false;
};
// `root` is where proc and sys are mounted; tests give a made-up one.
MemorySize memory_size(const std::filesystem::path& root = "/");

// Processors that this process may run on (affinity; a control group's quota counts, rounded up).
unsigned usable_cores(const std::filesystem::path& root = "/");

// kDegraded: works, but slower or with less. kMissing: what needs it cannot run on this machine.
enum class Verdict : std::uint8_t { kOk, kDegraded, kMissing };

struct MachineFact {
  std::string name;   // "vm.max_map_count"
  std::string value;  // "65530"
  Verdict verdict = Verdict::kOk;
  std::string advice;  // one sentence: what suffers, and what to do; empty if all is well
};

// Everything but the fault engines (probe_fault_engines). Each fact is found by trying or reading, none by the kernel's
// version number.
std::vector<MachineFact> examine_machine();

// The same for what only `gallocy run` needs beside that.
std::vector<MachineFact> examine_for_process_mode();

}  // namespace gallocy::os
