#include "core_node.h"

#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string_view>
#include <thread>

namespace gallocy::bench {

double median_of(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

Figures measure_nothing(gallocy::Node&, Size) { return {}; }

namespace {

const std::map<std::string_view, Measurement> kMeasurements = {
    {"fault.read", measure_read_faults},
    {"fault.write", measure_write_faults},
    {"fault.upgrade", measure_upgrade_faults},
    {"stream.read", measure_stream},
    {"pingpong.write", measure_ping_pong},
    {"pingpong.contention", measure_contention},
    {"metadata", measure_metadata},
    {"lock.remote", measure_remote_lock},
    {"lock.cached", measure_cached_lock},
    {"barrier", measure_barrier},
    {"barrier.messages", measure_barrier_messages},
    {"failover.leader", measure_leaders_death},
    {"failover.worker", measure_workers_death},
    {"failover.stopped", measure_workers_silence},
    {"durable.commit.1home", measure_commit_in_one},
    {"durable.commit.2homes", measure_commit_in_two},
    {"durable.section", measure_section},
    {"durable.commits", measure_commits},
    {"durable.restore", measure_restore},
    {"log.commits", measure_log_commits},
    {"log.latency", measure_log_latency},
    {"empty", measure_nothing},
};

// Before join, so that the library's threads inherit it.
void pin_to_processor() {
  const char* node = std::getenv("GALLOCY_NODE");  // set by the launcher
  // More nodes than processors are left to the scheduler, unless they are to spin.
  const char* nodes = std::getenv("GALLOCY_NODES");
  const unsigned count = std::max(1u, std::thread::hardware_concurrency());
  const bool share = nodes == nullptr || std::strtoul(nodes, nullptr, 10) > count;
  if (share && std::getenv("GALLOCY_SPIN_US") == nullptr) return;
  const unsigned id = node == nullptr ? 0 : static_cast<unsigned>(std::strtoul(node, nullptr, 10));
  cpu_set_t processors;
  CPU_ZERO(&processors);
  CPU_SET(id % count, &processors);
  sched_setaffinity(0, sizeof processors, &processors);
  // Who shares a processor does not preempt whose it is (sched(7)). On a machine of its own it would be faster; but it
  // would not be in the way of the others.
  const sched_param none{};
  if (id >= count) sched_setscheduler(0, SCHED_BATCH, &none);
}

int print(const Figures& figures) {
  for (const auto& [name, value] : figures.values) std::printf("%s=%.6g\n", name.c_str(), value);
  for (const auto& [name, value] : figures.text) std::printf("%s=%s\n", name.c_str(), value.c_str());
  if (figures.wrong.empty()) return 0;
  std::fprintf(stderr, "core_node: wrong result: %s\n", figures.wrong.c_str());
  return 1;
}

}  // namespace
}  // namespace gallocy::bench

namespace bench = gallocy::bench;

int main(int argc, char** argv) {
  const auto measurement = argc > 1 ? bench::kMeasurements.find(argv[1]) : bench::kMeasurements.end();
  const bool small = argc == 3 && std::string_view(argv[2]) == "--small";
  if (measurement == bench::kMeasurements.end() || (argc != 2 && !small)) {
    std::cerr << "core_node: expected the name of a measurement, and perhaps --small\n";
    return 64;
  }
  // Three nodes that are busy all the time share two processors better if the kernel sees to it.
  const bool floats =
      measurement->second == bench::measure_nothing || measurement->second == bench::measure_log_commits;
  if (!floats) bench::pin_to_processor();
  auto node = gallocy::Node::join();
  if (!node) return gallocy::report(node.error());
  const auto figures = measurement->second(**node, bench::Size{small});
  const bool may_0_die = measurement->first.starts_with("failover.") || measurement->first == "durable.restore";
  const unsigned speaker = may_0_die ? 1 : 0;
  return (*node)->id() == speaker ? bench::print(figures) : 0;
}
