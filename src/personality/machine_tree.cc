#include "personality/machine_tree.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/os_error.h"
#include "personality/machine_texts.h"

namespace gallocy::personality {
namespace {

using Numbers = std::vector<unsigned>;

constexpr unsigned kKernelMaxProcessor = 8191;  // NR_CPUS - 1 of the distributions' kernels

// Files, directories and links below one directory. After the first failure nothing more is made.
class TreeWriter {
 public:
  explicit TreeWriter(std::string directory) : directory_(std::move(directory)) {}

  void directory(std::string_view path) {
    if (const auto full = place(path); errnum_ == 0 && ::mkdir(full.c_str(), 0755) != 0) failed(full);
  }
  void link(std::string_view path, const std::string& target) {
    if (const auto full = place(path); errnum_ == 0 && ::symlink(target.c_str(), full.c_str()) != 0) failed(full);
  }
  void file(std::string_view path, std::string_view text);
  void line(std::string_view path, std::string_view text) { file(path, fmt::format("{}\n", text)); }
  void line(std::string_view path, std::uint64_t number) { file(path, fmt::format("{}\n", number)); }

  Result<> result() const {
    if (errnum_ == 0) return {};
    return os::os_failure(errnum_, fmt::format("make {} of the program's view of the machine", failed_path_));
  }

 private:
  std::string place(std::string_view path) const { return fmt::format("{}/{}", directory_, path); }
  void failed(const std::string& path) {
    errnum_ = errno;
    failed_path_ = path;
  }

  const std::string directory_;
  int errnum_ = 0;
  std::string failed_path_;
};

void TreeWriter::file(std::string_view path, std::string_view text) {
  const auto full = place(path);
  if (errnum_ != 0) return;
  const int fd = ::open(full.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0444);
  if (fd < 0) return failed(full);
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      failed(full);
      break;
    }
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  ::close(fd);
}

// What one processor's files are made from.
struct Processor {
  unsigned node;
  unsigned index;  // of the node's, from 0
  unsigned first;  // the node's first processor
  unsigned total;  // of all nodes
  const MachineFacts& facts;

  unsigned number() const { return first + index; }
  unsigned core() const { return facts.core_of(index); }
  // The node's processors on cores low … low + count - 1.
  Numbers on_cores(unsigned low, unsigned count) const {
    Numbers found;
    for (unsigned k = 0; k < facts.processors; ++k) {
      if (facts.core_of(k) - low < count) found.push_back(first + k);
    }
    return found;
  }
};

void write_set(TreeWriter& out, const std::string& name, const std::string& suffix, const Numbers& numbers,
               unsigned total) {
  out.file(name, mask_text(numbers, total));
  out.file(name + suffix, list_text(numbers));
}

void write_topology(TreeWriter& out, const std::string& directory, const Processor& processor) {
  const auto threads = processor.on_cores(processor.core(), 1);
  const auto package = number_range(processor.first, processor.facts.processors);
  out.directory(directory);
  out.line(directory + "/physical_package_id", processor.node);
  out.line(directory + "/die_id", 0);
  out.line(directory + "/cluster_id", processor.core());
  out.line(directory + "/core_id", processor.core());
  for (const auto* name : {"/thread_siblings", "/core_cpus", "/cluster_cpus"}) {
    write_set(out, directory + name, "_list", threads, processor.total);
  }
  for (const auto* name : {"/core_siblings", "/package_cpus", "/die_cpus"}) {
    write_set(out, directory + name, "_list", package, processor.total);
  }
}

std::string_view type_text(CacheType type) {
  return type == CacheType::kData ? "Data" : type == CacheType::kInstruction ? "Instruction" : "Unified";
}

void write_cache(TreeWriter& out, const std::string& directory, const Processor& processor, const CacheFacts& cache) {
  const unsigned group = processor.core() / cache.sharing_cores;
  const auto sharing = processor.on_cores(group * cache.sharing_cores, cache.sharing_cores);
  out.directory(directory);
  out.line(directory + "/level", cache.level);
  out.line(directory + "/type", type_text(cache.type));
  out.line(directory + "/size", fmt::format("{}K", cache.bytes / 1024));
  out.line(directory + "/coherency_line_size", cache.line_bytes);
  out.line(directory + "/number_of_sets", cache.sets);
  out.line(directory + "/ways_of_associativity", cache.ways);
  out.line(directory + "/physical_line_partition", 1);
  // Told apart from the other caches of its level and type: the number of the first processor that has it.
  out.line(directory + "/id", sharing.front());
  out.file(directory + "/shared_cpu_map", mask_text(sharing, processor.total));
  out.file(directory + "/shared_cpu_list", list_text(sharing));
}

void write_processor(TreeWriter& out, const Processor& processor) {
  const auto name = fmt::format("cpu{}", processor.number());
  const auto directory = "sys/devices/system/cpu/" + name;
  out.directory(directory);
  if (processor.number() != 0) out.line(directory + "/online", 1);  // Linux shows none for a processor that must stay
  out.link(directory + fmt::format("/node{}", processor.node), fmt::format("../../node/node{}", processor.node));
  out.link(directory + "/subsystem", "../../../../bus/cpu");
  out.link("sys/bus/cpu/devices/" + name, "../../../devices/system/cpu/" + name);
  write_topology(out, directory + "/topology", processor);
  if (processor.facts.caches.empty()) return;
  out.directory(directory + "/cache");
  for (std::size_t i = 0; i < processor.facts.caches.size(); ++i) {
    write_cache(out, directory + fmt::format("/cache/index{}", i), processor, processor.facts.caches[i]);
  }
}

void write_processors(TreeWriter& out, std::span<const MachineFacts> nodes, unsigned total) {
  const std::string directory = "sys/devices/system/cpu";
  out.directory(directory);
  const auto all = list_text(number_range(0, total));
  for (const auto* name : {"/online", "/possible", "/present"}) out.file(directory + name, all);
  for (const auto* name : {"/offline", "/isolated"}) out.line(directory + name, "");
  out.line(directory + "/kernel_max", std::max(kKernelMaxProcessor, total - 1));
  unsigned first = 0;
  bool threads = false;
  for (unsigned node = 0; node < nodes.size(); ++node) {
    const auto& facts = nodes[node];
    threads = threads || facts.core_count() < facts.processors;
    for (unsigned k = 0; k < facts.processors; ++k) write_processor(out, {node, k, first, total, facts});
    first += facts.processors;
  }
  out.directory(directory + "/smt");
  out.line(directory + "/smt/active", threads ? 1 : 0);
  out.line(directory + "/smt/control", threads ? "on" : "notsupported");
}

void write_nodes(TreeWriter& out, std::span<const MachineFacts> nodes, unsigned total) {
  const std::string top = "sys/devices/system/node";
  const auto count = static_cast<unsigned>(nodes.size());
  Numbers with_memory;
  unsigned first = 0;
  out.directory(top);
  for (unsigned node = 0; node < count; ++node) {
    const NodeId id{static_cast<std::uint16_t>(node)};
    const auto name = fmt::format("node{}", node);
    const auto directory = top + "/" + name;
    const auto processors = number_range(first, nodes[node].processors);
    out.directory(directory);
    out.file(directory + "/cpulist", list_text(processors));
    out.file(directory + "/cpumap", mask_text(processors, total));
    out.file(directory + "/distance", distance_text(id, count));
    out.file(directory + "/meminfo", node_meminfo_text(id, nodes[node]));
    out.file(directory + "/numastat", node_numastat_text());
    for (const unsigned cpu : processors) {
      out.link(directory + fmt::format("/cpu{}", cpu), fmt::format("../../cpu/cpu{}", cpu));
    }
    out.link(directory + "/subsystem", "../../../../bus/node");
    out.link("sys/bus/node/devices/" + name, "../../../devices/system/node/" + name);
    if (nodes[node].memory_bytes > 0) with_memory.push_back(node);
    first += nodes[node].processors;
  }
  const auto all = list_text(number_range(0, count));
  for (const auto* name : {"/online", "/possible", "/has_cpu"}) out.file(top + name, all);
  for (const auto* name : {"/has_memory", "/has_normal_memory"}) out.file(top + name, list_text(with_memory));
  out.line(top + "/has_generic_initiator", "");
}

}  // namespace

Result<> write_machine_tree(std::span<const MachineFacts> nodes, const std::filesystem::path& directory) {
  unsigned total = 0;
  for (const auto& node : nodes) total += node.processors;
  TreeWriter out(directory.native());
  for (const auto* name : {"proc", "sys", "sys/devices", "sys/devices/system", "sys/bus", "sys/bus/cpu",
                           "sys/bus/cpu/devices", "sys/bus/node", "sys/bus/node/devices"}) {
    out.directory(name);
  }
  out.file("proc/cpuinfo", cpuinfo_text(nodes));
  out.file("proc/meminfo", meminfo_text(nodes));
  out.file("proc/stat", stat_text(nodes));
  write_processors(out, nodes, total);
  write_nodes(out, nodes, total);
  return out.result();
}

}  // namespace gallocy::personality
