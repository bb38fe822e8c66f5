#include "show.h"

#include <cstdio>
#include <sstream>

namespace demo {

namespace {

// 1234567 -> "1 234 567".
std::string grouped(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::ptrdiff_t at = std::ssize(text) - 3; at > 0; at -= 3) text.insert(static_cast<std::size_t>(at), 1, ' ');
  return text;
}

std::string megabytes(std::uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

std::string bar(std::uint64_t part, std::uint64_t whole, std::size_t columns) {
  std::string text;
  for (std::size_t i = 0; i < (whole == 0 ? 0 : part * columns / whole); ++i) text += "█";
  return text;
}

void heading(const char* text) { std::printf("\n── %s ──\n\n", text); }

void row(const char* label, std::span<const NodeFigures> nodes, std::uint64_t (*figure)(const NodeFigures&),
         std::string (*format)(std::uint64_t) = grouped) {
  std::printf("   %-34s", label);
  std::uint64_t total = 0;
  for (const auto& node : nodes) {
    total += figure(node);
    std::printf("%13s", format(figure(node)).c_str());
  }
  std::printf("%13s\n", format(total).c_str());
}

}  // namespace

void title(unsigned nodes) {
  std::printf(
      "gallocy: %u process%s with one memory. Each node below is a process of its own; all of them use the same\n"
      "pointers, and pages travel between them when they are touched.\n",
      nodes, nodes == 1 ? "" : "es");
}

void show_words(const std::vector<std::string>& paths, const example::WordCountResult& result) {
  heading("Word count");
  std::string where;
  for (const auto& path : paths) where += " " + path;
  std::printf("   the text under%s\n   %s files, %s, %s words, %s different ones, in %.2f s\n\n", where.c_str(),
              grouped(result.files).c_str(), megabytes(result.bytes).c_str(), grouped(result.words).c_str(),
              grouped(result.distinct).c_str(), result.seconds);
  for (const auto& top : result.top) {
    if (top.count == 0) continue;
    std::printf("   %-14s %10s  %s\n", top.word, grouped(top.count).c_str(),
                bar(top.count, result.top[0].count, 40).c_str());
  }
  std::printf("\n   read by  ");
  for (std::size_t node = 0; node < result.bytes_by_worker.size(); ++node) {
    std::printf("node %zu: %s   ", node, megabytes(result.bytes_by_worker[node]).c_str());
  }
  std::printf("\n");
}

void show_plate(const example::SorOptions& options, const example::SorResult& result) {
  heading("Heat on a plate");
  std::printf("   %zu x %zu points, %zu sweeps of red-black over-relaxation, in %.2f s; the upper edge is heated\n\n",
              options.size, options.size, options.iterations, result.seconds);
  constexpr std::size_t kColumns = 72, kRows = 20;
  constexpr char kShades[] = " .:-=+*#%@";
  for (std::size_t r = 0; r < kRows; ++r) {
    char line[kColumns + 1] = {};
    for (std::size_t c = 0; c < kColumns; ++c) {
      const double heat = result.grid[(r * options.size / kRows) * options.size + c * options.size / kColumns];
      // The cube root spreads the cold end of the scale, where most of the plate is.
      line[c] = kShades[static_cast<std::size_t>(std::min(0.999, std::cbrt(std::max(0.0, heat))) * 10)];
    }
    std::printf("   |%s|\n", line);
  }
}

void show_memory(std::span<const NodeFigures> nodes) {
  heading("What the memory did");
  std::printf("   %-34s", "");
  for (std::size_t node = 0; node < nodes.size(); ++node) std::printf("%13s", ("node " + std::to_string(node)).c_str());
  std::printf("%13s\n", "all");
  using F = NodeFigures;
  row("pages of the plate homed here", nodes, [](const F& f) { return f.plate_homes; });
  row(
      "memory resident", nodes, [](const F& f) { return f.statistics.resident_bytes; }, megabytes);
  row("read faults", nodes, [](const F& f) { return f.statistics.read_faults; });
  row("write faults", nodes, [](const F& f) { return f.statistics.write_faults; });
  row("  of both, without a message", nodes, [](const F& f) { return f.statistics.local_faults; });
  row("pages received", nodes, [](const F& f) { return f.statistics.pages_received; });
  row("  of these, before they were asked", nodes, [](const F& f) { return f.statistics.prefetched; });
  row("pages taken away by others", nodes, [](const F& f) { return f.statistics.invalidations; });
  row("messages sent", nodes, [](const F& f) { return f.statistics.frames_sent; });
  row(
      "bytes sent", nodes, [](const F& f) { return f.statistics.bytes_sent; }, megabytes);
  row("locks taken", nodes, [](const F& f) { return f.statistics.lock_acquires; });
  row("  without a message", nodes, [](const F& f) { return f.statistics.lock_cached; });
  row("barriers", nodes, [](const F& f) { return f.statistics.barriers; });
  row("waited for pages, ms", nodes, [](const F& f) { return f.statistics.fault_wait_ns / 1'000'000; });
  row(
      "bookkeeping", nodes, [](const F& f) { return f.statistics.metadata_bytes; }, megabytes);

  heading("Pages that several nodes wrote (hottest first, as each home saw it)");
  bool any = false;
  for (std::size_t node = 0; node < nodes.size(); ++node) {
    std::istringstream lines(nodes[node].report);
    for (std::string line; std::getline(lines, line); any = true) std::printf("   node %zu: %s\n", node, line.c_str());
  }
  if (!any) std::printf("   none\n");
}

bool compare(const char* job, const example::Outcome& cluster, const example::Outcome& plain) {
  static bool first = true;
  if (std::exchange(first, false)) heading("The same on ordinary memory, one thread");
  const bool equal = cluster.digest == plain.digest;
  std::printf("   %-12s %s: digest %016llx here, %016llx there; %.2f s on the cluster, %.2f s on ordinary memory\n",
              job, equal ? "EQUAL" : "DIFFERENT", static_cast<unsigned long long>(cluster.digest),
              static_cast<unsigned long long>(plain.digest), cluster.seconds, plain.seconds);
  return equal;
}

}  // namespace demo
