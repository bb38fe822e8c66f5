#include "personality/machine_facts.h"

#include <sys/utsname.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <map>
#include <string_view>

#include "os/machine.h"
#include "personality/processors.h"

namespace gallocy::personality {
namespace {

// For a machine that shows no /proc/cpuinfo.
constexpr std::string_view kBareCpuinfo =
    "processor\t: 0\nphysical id\t: 0\nsiblings\t: 1\ncore id\t\t: 0\ncpu cores\t: 1\n";
constexpr std::size_t kMaxTextBytes = 0xffff;

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

// The number at the start of `text`, which may be followed by a unit; 0 if there is none or it is too large.
std::uint64_t number_in(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} ? number : 0;
}

std::uint64_t read_number(const std::filesystem::path& path) { return number_in(read_text(path)); }

// The members of a list such as "0-3,8" that are also in `among`.
std::vector<unsigned> members(std::string_view list, const std::vector<unsigned>& among) {
  std::vector<unsigned> found;
  while (!list.empty()) {
    const auto range = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), range.size() + 1));
    const auto dash = range.find('-');
    const auto low = number_in(range);
    const auto high = dash == range.npos ? low : number_in(range.substr(dash + 1));
    for (const unsigned cpu : among) {
      if (cpu >= low && cpu <= high) found.push_back(cpu);
    }
  }
  return found;
}

std::filesystem::path processor_directory(const std::filesystem::path& root, unsigned cpu) {
  return root / "sys/devices/system/cpu" / ("cpu" + std::to_string(cpu));
}

// Numbers the cores in the order in which the processors name them. A core is known by its lowest usable thread.
std::vector<std::uint16_t> cores_of(const std::vector<unsigned>& processors, const std::filesystem::path& root) {
  std::map<unsigned, std::uint16_t> core_of_first_thread;
  std::vector<std::uint16_t> cores;
  for (const unsigned cpu : processors) {
    const auto threads =
        members(read_text(processor_directory(root, cpu) / "topology/thread_siblings_list"), processors);
    const unsigned first = threads.empty() ? cpu : threads.front();
    const auto next = static_cast<std::uint16_t>(core_of_first_thread.size());
    cores.push_back(core_of_first_thread.try_emplace(first, next).first->second);
  }
  return cores;
}

std::vector<CacheFacts> caches_of(const std::vector<unsigned>& processors, const std::vector<std::uint16_t>& cores,
                                  const std::filesystem::path& root) {
  std::vector<CacheFacts> caches;
  for (unsigned index = 0; index < kMaxNodeCaches; ++index) {
    const auto directory = processor_directory(root, processors.front()) / "cache" / ("index" + std::to_string(index));
    CacheFacts cache{.level = static_cast<std::uint8_t>(read_number(directory / "level")),
                     .bytes = read_number(directory / "size") * 1024,  // "48K"; the kernel uses no other unit
                     .line_bytes = static_cast<std::uint32_t>(read_number(directory / "coherency_line_size")),
                     .sets = static_cast<std::uint32_t>(read_number(directory / "number_of_sets")),
                     .ways = static_cast<std::uint32_t>(read_number(directory / "ways_of_associativity"))};
    if (cache.level < 1 || cache.level > 4) break;
    const auto type = read_text(directory / "type");
    cache.type = type == "Data" ? CacheType::kData : type == "Instruction" ? CacheType::kInstruction : cache.type;
    std::vector<std::uint16_t> sharing;
    for (const unsigned cpu : members(read_text(directory / "shared_cpu_list"), processors)) {
      const auto place = std::lower_bound(processors.begin(), processors.end(), cpu) - processors.begin();
      sharing.push_back(cores[static_cast<std::size_t>(place)]);
    }
    std::sort(sharing.begin(), sharing.end());
    const auto distinct = std::unique(sharing.begin(), sharing.end()) - sharing.begin();
    cache.sharing_cores = static_cast<std::uint32_t>(std::max<std::ptrdiff_t>(distinct, 1));
    caches.push_back(cache);
  }
  return caches;
}

// The block of one processor, each line with its newline; of the first processor if that one has none.
std::string cpuinfo_block(const std::filesystem::path& root, unsigned cpu) {
  std::ifstream file(root / "proc/cpuinfo");
  std::string block;
  std::string first;
  const auto is_wanted = [&](std::string_view text) {
    const auto colon = text.find(": ");
    return text.starts_with("processor") && colon != text.npos && number_in(text.substr(colon + 2)) == cpu;
  };
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) {
      block += line + '\n';
      continue;
    }
    if (is_wanted(block)) return block;
    if (first.empty()) first = block;
    block.clear();
  }
  if (is_wanted(block)) return block;
  if (first.empty()) first = block;
  return first.starts_with("processor") ? first : std::string(kBareCpuinfo);
}

std::uint64_t boot_time(const std::filesystem::path& root) {
  constexpr std::string_view kName = "btime ";
  std::ifstream file(root / "proc/stat");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(kName)) return number_in(std::string_view(line).substr(kName.size()));
  }
  return 0;
}

}  // namespace

std::uint32_t MachineFacts::core_count() const {
  return cores.empty() ? processors : *std::max_element(cores.begin(), cores.end()) + 1U;
}

MachineFacts machine_facts(std::uint64_t memory_bytes, const std::filesystem::path& root) {
  const auto& usable = usable_processors();
  MachineFacts facts{.processors = static_cast<std::uint32_t>(usable.size()),
                     .cores = cores_of(usable, root),
                     .memory_bytes = memory_bytes,
                     .free_bytes = std::min(memory_bytes, os::memory_size(root).available_bytes),
                     .cpuinfo = cpuinfo_block(root, usable.front())};
  facts.caches = caches_of(usable, facts.cores, root);
  facts.up_seconds = read_number(root / "proc/uptime");
  facts.boot_unix_seconds = boot_time(root);
  utsname name{};
  if (::uname(&name) == 0) facts.kernel_release = name.release;
  return facts;
}

wire::Bytes encode(const MachineFacts& facts) {
  wire::Bytes bytes;
  wire::ByteWriter out(bytes);
  out.put(facts.processors);
  for (std::uint32_t processor = 0; processor < facts.processors; ++processor) {
    out.put(static_cast<std::uint16_t>(facts.core_of(processor)));
  }
  for (const auto number : {facts.memory_bytes, facts.free_bytes, facts.boot_unix_seconds, facts.up_seconds}) {
    out.put(number);
  }
  for (const std::string_view text : {std::string_view(facts.cpuinfo), std::string_view(facts.kernel_release)}) {
    out.put_text(text.substr(0, kMaxTextBytes));
  }
  out.put(static_cast<std::uint8_t>(facts.caches.size()));
  for (const auto& cache : facts.caches) {
    out.put(cache.level);
    out.put(cache.type);
    out.put(cache.bytes);
    for (const auto number : {cache.line_bytes, cache.sets, cache.ways, cache.sharing_cores}) out.put(number);
  }
  return bytes;
}

namespace {

bool sound(const CacheFacts& cache) {
  return cache.level >= 1 && cache.level <= 4 && cache.type <= CacheType::kUnified && cache.sharing_cores >= 1;
}

// Cores are numbered in the order in which the processors name them, so no core is skipped.
bool numbered_without_holes(const std::vector<std::uint16_t>& cores) {
  unsigned next = 0;
  for (const unsigned core : cores) {
    if (core > next) return false;
    if (core == next) ++next;
  }
  return true;
}

}  // namespace

std::optional<MachineFacts> decode(std::span<const std::byte> bytes) {
  wire::ByteReader in(bytes);
  MachineFacts facts{.processors = in.get<std::uint32_t>()};
  if (facts.processors < 1 || facts.processors > kMaxNodeProcessors) return std::nullopt;
  facts.cores.resize(facts.processors);
  for (auto& core : facts.cores) core = in.get<std::uint16_t>();
  for (auto* number : {&facts.memory_bytes, &facts.free_bytes, &facts.boot_unix_seconds, &facts.up_seconds}) {
    *number = in.get<std::uint64_t>();
  }
  facts.cpuinfo = in.get_text();
  facts.kernel_release = in.get_text();
  const unsigned caches = in.get<std::uint8_t>();
  if (caches > kMaxNodeCaches) return std::nullopt;
  facts.caches.resize(caches);
  for (auto& cache : facts.caches) {
    cache.level = in.get<std::uint8_t>();
    cache.type = in.get<CacheType>();
    cache.bytes = in.get<std::uint64_t>();
    for (auto* number : {&cache.line_bytes, &cache.sets, &cache.ways, &cache.sharing_cores}) {
      *number = in.get<std::uint32_t>();
    }
  }
  const bool good = in.done() && numbered_without_holes(facts.cores) && facts.free_bytes <= facts.memory_bytes &&
                    std::ranges::all_of(facts.caches, sound);
  return good ? std::optional(std::move(facts)) : std::nullopt;
}

}  // namespace gallocy::personality
