// core_node: the program that the benchmark starts on each node to measure one thing on the public library.
//
//   gallocy launch -n 2 --transport tcp -- core_node fault.read [--small]
//
// Each node is pinned to one processor, as the raw references are. One node prints its figures as lines `name=value`; a
// result that is wrong ends the program with status 1 and a line that says what.
#pragma once

#include <gallocy/gallocy.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

namespace gallocy::bench {

struct Figures {
  std::map<std::string, double> values;
  std::map<std::string, std::string> text;
  std::string wrong;  // empty if every check held
};

// Chooses between the size for tests and the one for figures.
struct Size {
  bool small = false;
  std::size_t operator()(std::size_t small_size, std::size_t real_size) const { return small ? small_size : real_size; }
};

// Every node calls the measurement; what node 0 returns is printed, or node 1 where node 0 may die.
using Measurement = Figures (*)(gallocy::Node&, Size);

Figures measure_read_faults(gallocy::Node& node, Size size);       // us
Figures measure_write_faults(gallocy::Node& node, Size size);      // us
Figures measure_upgrade_faults(gallocy::Node& node, Size size);    // us
Figures measure_stream(gallocy::Node& node, Size size);            // mb_per_s
Figures measure_ping_pong(gallocy::Node& node, Size size);         // us
Figures measure_contention(gallocy::Node& node, Size size);        // longest_ms
Figures measure_metadata(gallocy::Node& node, Size size);          // bytes_per_page
Figures measure_remote_lock(gallocy::Node& node, Size size);       // us
Figures measure_cached_lock(gallocy::Node& node, Size size);       // us
Figures measure_barrier(gallocy::Node& node, Size size);           // us
Figures measure_barrier_messages(gallocy::Node& node, Size size);  // messages (of all nodes, per barrier)
Figures measure_leaders_death(gallocy::Node& node, Size size);     // ms
Figures measure_workers_death(gallocy::Node& node, Size size);     // ms
Figures measure_workers_silence(gallocy::Node& node, Size size);   // ms
Figures measure_commit_in_one(gallocy::Node& node, Size size);     // us
Figures measure_section(gallocy::Node& node, Size size);           // us
Figures measure_commit_in_two(gallocy::Node& node, Size size);     // us
Figures measure_commits(gallocy::Node& node, Size size);           // per_s
Figures measure_restore(gallocy::Node& node, Size size);           // mb_per_s, ms
Figures measure_log_commits(gallocy::Node& node, Size size);       // per_s, digest
Figures measure_log_latency(gallocy::Node& node, Size size);       // us, digest
Figures measure_nothing(gallocy::Node& node, Size size);

inline double now_us() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median_of(std::vector<double> values);

// The value, or the end of this process with the error's line.
template <typename T>
T or_exit(gallocy::Result<T> result) {
  if (!result) std::exit(gallocy::report(result.error()));
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

}  // namespace gallocy::bench
