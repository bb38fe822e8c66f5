// Locks and barriers.
#include <new>

#include "core_node.h"

namespace gallocy::bench {

// Mutexes made and last held by node 1, so that neither their home nor their token is here; node 0 takes each once.
Figures measure_remote_lock(gallocy::Node& node, Size size) {
  const std::size_t count = size(32, 1000);
  auto region = or_exit(node.map({.name = "bench.locks", .bytes = count * sizeof(gallocy::mutex)}));
  auto* locks = static_cast<gallocy::mutex*>(region.data());
  if (node.id() == 1) {
    for (std::size_t i = 0; i < count; ++i) {
      new (&locks[i]) gallocy::mutex();
      locks[i].lock();
      locks[i].unlock();
    }
  }
  or_exit(node.barrier());
  Figures figures;
  if (node.id() == 0) {
    std::uint64_t ids = 0;  // the handles are here before the clock runs
    for (std::size_t i = 0; i < count; ++i) ids ^= locks[i].id();
    std::vector<double> times;
    for (std::size_t i = 0; i < count; ++i) {
      const double start = now_us();
      locks[i].lock();
      locks[i].unlock();
      times.push_back(now_us() - start);
    }
    figures.values["us"] = median_of(std::move(times));
    if (node.statistics().lock_acquires < count) figures.wrong = "locks were not counted: id " + std::to_string(ids);
  }
  or_exit(node.barrier());
  return figures;
}

Figures measure_cached_lock(gallocy::Node& node, Size size) {
  gallocy::mutex lock("bench.lock");
  const std::size_t count = size(1000, 200'000);
  Figures figures;
  if (node.id() == 0) {
    lock.lock();  // brings the token here
    lock.unlock();
    const double start = now_us();
    for (std::size_t i = 0; i < count; ++i) {
      lock.lock();
      lock.unlock();
    }
    figures.values["us"] = (now_us() - start) / static_cast<double>(count);
  }
  or_exit(node.barrier());
  return figures;
}

Figures measure_barrier(gallocy::Node& node, Size size) {
  std::vector<double> times;
  for (std::size_t i = 0; i < size(50, 3000); ++i) {
    const double start = now_us();
    or_exit(node.barrier());
    times.push_back(now_us() - start);
  }
  Figures figures;
  figures.values["us"] = median_of(std::move(times));
  return figures;
}

// Messages of all nodes per barrier. Each node takes the median of short rounds, most of which have no heartbeat in
// them.
Figures measure_barrier_messages(gallocy::Node& node, Size size) {
  struct alignas(4096) Count {
    double frames;  // per barrier, sent by one node
  };
  constexpr std::size_t kBarriers = 10;  // of a round
  auto counts = or_exit(node.shared<Count>("bench.frames", node.count()));
  for (int i = 0; i < 3; ++i) or_exit(node.barrier());
  std::vector<double> rounds;
  for (std::size_t round = 0; round < size(5, 40); ++round) {
    const std::uint64_t before = node.statistics().frames_sent;
    for (std::size_t i = 0; i < kBarriers; ++i) or_exit(node.barrier());
    rounds.push_back(static_cast<double>(node.statistics().frames_sent - before) / kBarriers);
  }
  or_exit(node.barrier());  // nobody moves pages while others still count
  counts[node.id()].frames = median_of(std::move(rounds));
  or_exit(node.barrier());
  Figures figures;
  if (node.id() == 0) {
    for (const Count& count : counts) figures.values["messages"] += count.frames;
    if (figures.values["messages"] == 0 && node.count() > 1) figures.wrong = "no messages were counted";
  }
  or_exit(node.barrier());
  return figures;
}

}  // namespace gallocy::bench
