#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <thread>

#include "os/machine.h"

namespace gallocy::os {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

// The number in a file of one; "max" is kUnlimited.
std::optional<std::uint64_t> number_in(const fs::path& file) {
  std::ifstream in(file);
  std::string word;
  if (!(in >> word)) return std::nullopt;
  if (word == "max") return kUnlimited;
  return std::strtoull(word.c_str(), nullptr, 10);
}

// The number behind `key` in a file of "key value" lines, 0 if it is not there.
std::uint64_t number_behind(const fs::path& file, std::string_view key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string name;
    std::uint64_t value = 0;
    if (words >> name >> value && name == key) return value;
  }
  return 0;
}

// The folders of this process's control group and its ancestors. Version 2 has the lines "0::/path" and is mounted at
// sys/fs/cgroup or, beside version 1, at sys/fs/cgroup/unified; version 1 has "7:cpu,cpuacct:/path".
std::vector<fs::path> groups_of(const fs::path& root, std::string_view controller, int version) {
  std::vector<fs::path> folders;
  std::ifstream in(root / "proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool mine = version == 2 ? line.starts_with("0::")
                                   : controllers.find("," + std::string(controller) + ",") != std::string::npos;
    if (!mine) continue;
    const fs::path base = root / "sys/fs/cgroup";
    const fs::path mount = version == 1 ? base / controller : fs::exists(base / "unified") ? base / "unified" : base;
    // In a container the path may be one of the host's that is not visible here: the ancestors that are, count.
    for (fs::path path = fs::path(line.substr(second + 1)).relative_path();; path = path.parent_path()) {
      folders.push_back(path.empty() ? mount : mount / path);
      if (path.empty()) break;
    }
  }
  return folders;
}

struct GroupFiles {
  int version;
  const char *limit, *usage, *reclaimable;
};
constexpr GroupFiles kGroupFiles[] = {
    {2, "memory.max", "memory.current", "inactive_file"},
    {1, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"},
};

std::uint64_t quota_cores(const fs::path& root) {
  std::uint64_t cores = kUnlimited;
  const auto limit = [&](std::uint64_t quota_us, std::uint64_t period_us) {
    if (period_us > 0) cores = std::min(cores, std::max<std::uint64_t>(1, (quota_us + period_us - 1) / period_us));
  };
  for (const fs::path& group : groups_of(root, "cpu", 2)) {
    std::ifstream in(group / "cpu.max");
    std::uint64_t quota = 0, period = 0;
    if (in >> quota >> period) limit(quota, period);  // "max 100000" is not a number: no limit
  }
  for (const fs::path& group : groups_of(root, "cpu", 1)) {
    std::ifstream quota_file(group / "cpu.cfs_quota_us");
    std::int64_t quota = -1;
    if (quota_file >> quota && quota > 0) {
      limit(static_cast<std::uint64_t>(quota), number_in(group / "cpu.cfs_period_us").value_or(0));
    }
  }
  return cores;
}

}  // namespace

MemorySize memory_size(const fs::path& root) {
  const fs::path meminfo = root / "proc/meminfo";
  MemorySize size{.total_bytes = number_behind(meminfo, "MemTotal:") * 1024,
                  .available_bytes = number_behind(meminfo, "MemAvailable:") * 1024};
  for (const GroupFiles& files : kGroupFiles) {
    for (const fs::path& group : groups_of(root, "memory", files.version)) {
      const auto limit = number_in(group / files.limit);
      if (!limit || *limit >= size.total_bytes) continue;  // also version 1's way to say unlimited
      const std::uint64_t usage = number_in(group / files.usage).value_or(0);
      const std::uint64_t cache = std::min(usage, number_behind(group / "memory.stat", files.reclaimable));
      const std::uint64_t used = usage - cache;
      size.total_bytes = *limit;
      size.available_bytes = std::min(size.available_bytes, *limit - std::min(used, *limit));
      size.limited_by_group = true;
    }
  }
  return size;
}

unsigned usable_cores(const fs::path& root) {
  cpu_set_t set;
  const int count = ::sched_getaffinity(0, sizeof set, &set) == 0
                        ? CPU_COUNT(&set)
                        : static_cast<int>(std::thread::hardware_concurrency());  // more than 1024 processors
  return static_cast<unsigned>(std::clamp<std::uint64_t>(quota_cores(root), 1, static_cast<std::uint64_t>(count)));
}

}  // namespace gallocy::os
