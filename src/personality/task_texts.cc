#include "personality/task_texts.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/ids.h"
#include "personality/machine_texts.h"

namespace gallocy::personality {
namespace {

// Numbers of the fields of /proc/PID/stat as in proc(5); the name, which may have spaces, is field 2.
constexpr std::size_t kState = 3, kMinorFaults = 10, kMajorFaults = 12, kUser = 14, kSystem = 15, kThreads = 20,
                      kStart = 22, kMapped = 23, kResident = 24, kPending = 31, kBlocked = 32, kIgnored = 33,
                      kCaught = 34, kProcessor = 39;

// The fields from kState on.
std::vector<std::string> fields_of(std::string_view line) {
  std::vector<std::string> fields;
  const std::size_t name_end = line.rfind(") ");
  if (name_end == std::string_view::npos) return fields;
  line.remove_prefix(name_end + 2);
  while (!line.empty() && line.back() == '\n') line.remove_suffix(1);
  while (!line.empty()) {
    const std::string_view field = line.substr(0, line.find(' '));
    fields.emplace_back(field);
    line.remove_prefix(std::min(line.size(), field.size() + 1));
  }
  return fields;
}

std::uint64_t number(const std::string& text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

bool read_stat(std::string_view line, TaskFacts& task) {
  const std::vector<std::string> fields = fields_of(line);
  const std::size_t name = line.find('('), name_end = line.rfind(')');
  if (fields.size() <= kProcessor - kState || name >= name_end) return false;
  const auto field = [&](std::size_t i) { return number(fields[i - kState]); };
  std::memset(task.name, 0, sizeof task.name);
  line.substr(name + 1, std::min(name_end - name - 1, sizeof task.name - 1)).copy(task.name, sizeof task.name - 1);
  task.state = fields[0][0];
  task.minor_faults = field(kMinorFaults);
  task.major_faults = field(kMajorFaults);
  task.user_ticks = field(kUser);
  task.system_ticks = field(kSystem);
  task.start_ticks = field(kStart);
  task.processor = field(kProcessor);
  return true;
}

std::string stat_line(std::string_view own, const TaskFacts& task, const ProcessFacts& process) {
  std::vector<std::string> fields = fields_of(own);
  if (fields.size() <= kProcessor - kState) return std::string(own);
  const auto set = [&](std::size_t i, std::uint64_t value) { fields[i - kState] = std::to_string(value); };
  fields[0] = task.state;
  set(kMinorFaults, task.minor_faults);
  set(kMajorFaults, task.major_faults);
  set(kUser, task.user_ticks);
  set(kSystem, task.system_ticks);
  set(kThreads, process.threads);
  set(kStart, task.start_ticks);
  set(kMapped, process.mapped_bytes);
  set(kResident, process.resident_bytes / kPageBytes);
  constexpr std::uint64_t kShown = 0x7fffffff;  // the first 31 signals
  set(kPending, task.pending & kShown);
  set(kBlocked, task.blocked & kShown);
  set(kIgnored, process.ignored & kShown);
  set(kCaught, process.caught & kShown);
  set(kProcessor, task.processor);
  return fmt::format("{} ({}) {}\n", task.guest_tid, task.name, fmt::join(fields, " "));
}

std::string status_text(std::string_view own, const TaskFacts& task, const ProcessFacts& process,
                        const AllowedFacts& allowed) {
  constexpr unsigned kNodeBits = 1024;  // MAX_NUMNODES of the distributions' kernels
  std::string text;
  const bool runs = task.state == 'R';
  while (!own.empty()) {
    const std::string_view line = own.substr(0, own.find('\n'));
    own.remove_prefix(std::min(own.size(), line.size() + 1));
    const std::string_view key = line.substr(0, line.find(':'));
    std::string value;
    if (key == "Name") value = task.name;
    if (key == "Pid") value = std::to_string(task.guest_tid);
    if (key == "State") value = runs ? "R (running)" : "S (sleeping)";
    if (key == "Threads") value = std::to_string(process.threads);
    if (key == "VmPeak" || key == "VmSize") value = fmt::format("{:8} kB", process.mapped_bytes >> 10);
    if (key == "VmHWM" || key == "VmRSS") value = fmt::format("{:8} kB", process.resident_bytes >> 10);
    if (key == "SigPnd") value = fmt::format("{:016x}", task.pending);
    if (key == "SigBlk") value = fmt::format("{:016x}", task.blocked);
    if (key == "SigIgn") value = fmt::format("{:016x}", process.ignored);
    if (key == "SigCgt") value = fmt::format("{:016x}", process.caught);
    if (allowed.nodes != 0) {
      const std::vector<unsigned> nodes = number_range(0, allowed.nodes);
      if (key == "Cpus_allowed") value = mask_text(allowed.processors, allowed.all_processors);
      if (key == "Cpus_allowed_list") value = list_text(allowed.processors);
      if (key == "Mems_allowed") value = mask_text(nodes, kNodeBits);
      if (key == "Mems_allowed_list") value = list_text(nodes);
      if (value.ends_with('\n')) value.pop_back();
    }
    text += value.empty() ? std::string(line) : fmt::format("{}:\t{}", key, value);
    text += '\n';
  }
  return text;
}

std::string statm_line(const ProcessFacts& process) {
  return fmt::format("{} {} 0 0 0 {} 0\n", process.mapped_bytes / kPageBytes, process.resident_bytes / kPageBytes,
                     process.mapped_bytes / kPageBytes);
}

}  // namespace gallocy::personality
