#include "personality/address_space_ranges.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace gallocy::personality {
namespace {

// Ranges of one class that are looked at before a larger class is taken instead: keeps a search short in a space full
// of holes slightly too small.
constexpr unsigned kMostProbes = 32;

unsigned class_of(std::uint64_t bytes) { return static_cast<unsigned>(std::bit_width(bytes)) - 1; }

}  // namespace

void FreeRanges::add_window(std::uint64_t begin, std::uint64_t end) {
  if (begin >= end) return;
  windows_.emplace_back(begin, end);
  give_back(begin, end);
}

void FreeRanges::insert(std::uint64_t begin, std::uint64_t end) {
  ranges_.emplace(begin, end);
  begins_by_class_[class_of(end - begin)].insert(begin);
}

void FreeRanges::erase(std::uint64_t begin, std::uint64_t end) {
  ranges_.erase(begin);
  begins_by_class_[class_of(end - begin)].erase(begin);
}

void FreeRanges::take(std::uint64_t begin, std::uint64_t end) {
  auto range = ranges_.upper_bound(begin);
  if (range != ranges_.begin()) --range;
  while (range != ranges_.end() && range->first < end) {
    const auto [from, to] = *range;
    ++range;
    if (to <= begin) continue;
    erase(from, to);
    if (from < begin) insert(from, begin);
    if (to > end) insert(end, to);
  }
}

void FreeRanges::give_back(std::uint64_t begin, std::uint64_t end) {
  for (const auto& [window_begin, window_end] : windows_) {
    std::uint64_t from = std::max(begin, window_begin);
    std::uint64_t to = std::min(end, window_end);
    if (from >= to) continue;
    take(from, to);
    const auto after = ranges_.lower_bound(to);
    if (after != ranges_.end() && after->first == to) {
      const auto [after_begin, after_end] = *after;
      erase(after_begin, after_end);
      to = after_end;
    }
    const auto behind = ranges_.lower_bound(from);
    if (behind != ranges_.begin() && std::prev(behind)->second == from) {
      const auto [before_begin, before_end] = *std::prev(behind);
      erase(before_begin, before_end);
      from = before_begin;
    }
    insert(from, to);
  }
}

bool FreeRanges::contains(std::uint64_t begin, std::uint64_t end) const {
  const auto after = ranges_.upper_bound(begin);
  return after != ranges_.begin() && std::prev(after)->second >= end;
}

std::optional<std::uint64_t> FreeRanges::find(std::uint64_t bytes, std::uint64_t alignment, std::uint64_t limit) const {
  const auto found = find_in_classes(bytes, alignment, limit, kMostProbes);
  return found ? found : find_in_classes(bytes, alignment, limit, std::numeric_limits<unsigned>::max());
}

std::optional<std::uint64_t> FreeRanges::find_in_classes(std::uint64_t bytes, std::uint64_t alignment,
                                                         std::uint64_t limit, unsigned most_probes) const {
  std::optional<std::uint64_t> best;
  for (unsigned size_class = class_of(bytes); size_class < begins_by_class_.size(); ++size_class) {
    unsigned probes = 0;
    for (const std::uint64_t begin : begins_by_class_[size_class]) {
      const std::uint64_t start = (begin + alignment - 1) & ~(alignment - 1);
      if ((best && start >= *best) || start > limit || limit - start < bytes || probes++ == most_probes) break;
      const std::uint64_t end = ranges_.find(begin)->second;
      if (start >= end || end - start < bytes) continue;
      best = start;
      break;
    }
  }
  return best;
}

std::uint64_t FreeRanges::free_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [begin, end] : ranges_) sum += end - begin;
  return sum;
}

}  // namespace gallocy::personality
