// Two containers of address ranges that AddressSpace is made of. Addresses are bytes; ranges are half open.
#pragma once

#include <array>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace gallocy::personality {

// A value for every address, few runs of equal values. Starts with one value everywhere.
template <typename Value>
class IntervalMap {
 public:
  explicit IntervalMap(Value everywhere) { runs_.emplace(0, everywhere); }

  Value at(std::uint64_t address) const { return std::prev(runs_.upper_bound(address))->second; }

  // Calls visitor(begin, end, value) for the runs within [begin, end), cut to it. The visitor must not assign.
  template <typename Visitor>
  void visit(std::uint64_t begin, std::uint64_t end, Visitor&& visitor) const {
    for (auto run = std::prev(runs_.upper_bound(begin)); begin < end; ++run) {
      const auto next = std::next(run);
      const std::uint64_t stop = next == runs_.end() || next->first > end ? end : next->first;
      visitor(begin, stop, run->second);
      begin = stop;
    }
  }

  void assign(std::uint64_t begin, std::uint64_t end, Value value) {
    if (begin >= end) return;
    const Value behind = at(end);
    auto after = runs_.erase(runs_.lower_bound(begin), runs_.upper_bound(end));
    const bool joins_before = after != runs_.begin() && std::prev(after)->second == value;
    if (behind != value) after = runs_.emplace_hint(after, end, behind);
    if (!joins_before) runs_.emplace_hint(after, begin, value);
  }

 private:
  std::map<std::uint64_t, Value> runs_;  // from its key to the next key; holds key 0; neighbours differ
};

// The free ranges inside some windows. Finds the lowest range that fits without looking at all of them: ranges are also
// kept by the power of two of their size.
class FreeRanges {
 public:
  // Makes [begin, end) manageable and free. Windows do not overlap.
  void add_window(std::uint64_t begin, std::uint64_t end);

  // Take and give back; parts outside the windows, or already in the wanted state, are ignored.
  void take(std::uint64_t begin, std::uint64_t end);
  void give_back(std::uint64_t begin, std::uint64_t end);

  bool contains(std::uint64_t begin, std::uint64_t end) const;

  // An aligned start of `bytes` free bytes that end at most at `limit`: the lowest one, or, where many ranges of about
  // this size do not fit, a low one. alignment: a power of two.
  std::optional<std::uint64_t> find(std::uint64_t bytes, std::uint64_t alignment, std::uint64_t limit) const;

  std::uint64_t free_bytes() const;

 private:
  std::optional<std::uint64_t> find_in_classes(std::uint64_t bytes, std::uint64_t alignment, std::uint64_t limit,
                                               unsigned most_probes) const;
  void insert(std::uint64_t begin, std::uint64_t end);
  void erase(std::uint64_t begin, std::uint64_t end);

  std::vector<std::pair<std::uint64_t, std::uint64_t>> windows_;
  std::map<std::uint64_t, std::uint64_t> ranges_;            // begin to end; neighbours do not touch
  std::array<std::set<std::uint64_t>, 64> begins_by_class_;  // class: floor(log2(bytes))
};

}  // namespace gallocy::personality
