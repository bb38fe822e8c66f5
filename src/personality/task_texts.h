// What /proc tells of the program's threads, made from what their nodes know of them. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gallocy::personality {

// Of one thread, from its node; the numbers are those of the kernel's /proc/PID/task/TID/stat (proc(5)).
struct TaskFacts {
  std::int32_t guest_tid = 0;
  char state = 'S';
  char name[16] = {};
  std::uint64_t minor_faults = 0, major_faults = 0, user_ticks = 0, system_ticks = 0, start_ticks = 0, processor = 0;
  std::uint64_t blocked = 0, pending = 0;  // signals
};

// Fills what the kernel's line tells; false if it is none.
bool read_stat(std::string_view line, TaskFacts& task);

// Of the process as a whole.
struct ProcessFacts {
  std::size_t threads = 1;
  std::uint64_t mapped_bytes = 0, resident_bytes = 0;
  std::uint64_t ignored = 0, caught = 0;  // signals
};

// What a thread may use, on a machine of several nodes.
struct AllowedFacts {
  std::vector<unsigned> processors;
  unsigned all_processors = 0;
  unsigned nodes = 0;  // 0: one machine, of which the kernel tells
};

// The home's own line or text, with what differs for the program's thread.
std::string stat_line(std::string_view own, const TaskFacts& task, const ProcessFacts& process);
std::string status_text(std::string_view own, const TaskFacts& task, const ProcessFacts& process,
                        const AllowedFacts& allowed);
std::string statm_line(const ProcessFacts& process);

}  // namespace gallocy::personality
