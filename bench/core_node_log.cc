// What the VMM log does on its own: commits of small entries (BindName) that node 0, which leads, proposes. The other
// nodes only keep the log.
#include <array>
#include <bit>
#include <thread>

#include "core_node.h"
#include "runtime/runtime.h"

namespace gallocy::bench {
namespace {

// What this name stands for at last, on every node.
constexpr const char* kName = "name";
const std::uint64_t kLast = std::bit_cast<std::uint64_t>(std::to_array({'g', 'a', 'l', 'l', 'o', 'c', 'y', '!'}));

void propose(gallocy::Node& node, std::vector<vmm::Entry> entries) {
  or_exit(node.runtime().regions().propose(std::move(entries), std::chrono::seconds(30)));
}

// Binds a name and takes it back, in turn; `count` is even.
std::vector<vmm::Entry> small_entries(const std::string& name, std::size_t count) {
  std::vector<vmm::Entry> entries;
  entries.reserve(count);
  for (std::size_t i = 0; i < count; i += 2) {
    entries.push_back(vmm::BindName{name, i});
    entries.push_back(vmm::UnbindName{name});
  }
  return entries;
}

// Whether this node's log has come to the end, too.
bool sees_last(gallocy::Node& node) {
  const double deadline = now_us() + 30e6;
  while (node.runtime().regions().bound(kName) != kLast) {
    if (now_us() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// Every node sees to it that it has the whole log. Till then node 1 waits in a barrier, receiving for itself, as
// whoever waits for the log does. The others sleep: there are two processors for three nodes, and a majority is two.
void conclude(gallocy::Node& node, Figures& figures) {
  if (node.id() == 0) propose(node, {vmm::BindName{kName, kLast}});
  const bool sleeps = node.id() > 1;
  if (!sleeps) or_exit(node.barrier());
  if (!sees_last(node)) {
    std::fprintf(stderr, "core_node: node %u has not got the whole log\n", node.id());
    std::exit(1);
  }
  if (sleeps) or_exit(node.barrier());
  const auto value = std::bit_cast<std::array<char, sizeof kLast>>(*node.runtime().regions().bound(kName));
  figures.text["digest"] = fmt::format("{}={}", kName, std::string_view(value.data(), value.size()));
}

}  // namespace

// Threads that each keep a batch under way, so that the next is there when one is committed.
Figures measure_log_commits(gallocy::Node& node, Size size) {
  constexpr std::size_t kThreads = 4, kBatch = 192;
  const std::size_t batches = size(20, 800);
  or_exit(node.barrier());
  Figures figures;
  if (node.id() == 0) {
    const auto keep_proposing = [&node, batches](const std::string& name) {
      for (std::size_t i = 0; i < batches; ++i) propose(node, small_entries(name, kBatch));
    };
    const double before = now_us();
    {
      std::array<std::jthread, kThreads> threads;
      for (std::size_t i = 0; i < kThreads; ++i) threads[i] = std::jthread(keep_proposing, fmt::format("nam{}", i));
    }
    figures.values["per_s"] = static_cast<double>(kThreads * kBatch * batches) / (now_us() - before) * 1e6;
  }
  conclude(node, figures);
  return figures;
}

Figures measure_log_latency(gallocy::Node& node, Size size) {
  or_exit(node.barrier());
  Figures figures;
  if (node.id() == 0) {
    std::vector<double> samples(size(100, 5000));
    for (std::size_t i = 0; i < samples.size(); ++i) {
      vmm::Entry entry = vmm::BindName{"nam0", 0};
      if (i % 2 != 0) entry = vmm::UnbindName{"nam0"};
      const double before = now_us();
      propose(node, {std::move(entry)});
      samples[i] = now_us() - before;
    }
    figures.values["us"] = median_of(std::move(samples));
  }
  conclude(node, figures);
  return figures;
}

}  // namespace gallocy::bench
