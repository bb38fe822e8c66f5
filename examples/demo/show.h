// How the demo shows its results: plain text, 100 columns, no colours.
#pragma once

#include <span>

#include "sor.h"
#include "wordcount.h"

namespace demo {

inline constexpr std::size_t kReportLines = 3;  // of the sharing report, per node

// What one node tells the speaker, through shared memory.
struct alignas(example::kPageBytes) NodeFigures {
  gallocy::Statistics statistics;
  std::uint64_t plate_homes = 0;  // pages of the plate that have their home on this node
  char report[2048] = {};
};

void title(unsigned nodes);
void show_words(const std::vector<std::string>& paths, const example::WordCountResult& result);
void show_plate(const example::SorOptions& options, const example::SorResult& result);
void show_memory(std::span<const NodeFigures> nodes);
// Prints one line; true if the digests are equal.
bool compare(const char* job, const example::Outcome& cluster, const example::Outcome& plain);

}  // namespace demo
