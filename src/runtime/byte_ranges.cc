#include "runtime/byte_ranges.h"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace gallocy::runtime {

ByteRanges::Ranges::const_iterator ByteRanges::first_that_ends_after(std::uint64_t address) const {
  const auto next = ranges_.upper_bound(address);
  if (next != ranges_.begin() && end_of(*std::prev(next)) > address) return std::prev(next);
  return next;
}

void ByteRanges::put(std::uint64_t address, std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  const std::uint64_t end = address + bytes.size();
  const auto next = ranges_.upper_bound(address);
  if (next != ranges_.begin()) {
    auto& [start, there] = *std::prev(next);
    if (end <= start + there.size()) {
      std::ranges::copy(bytes, there.begin() + static_cast<std::ptrdiff_t>(address - start));
      return;
    }
    if (start + there.size() == address && (next == ranges_.end() || next->first >= end)) {
      there.insert(there.end(), bytes.begin(), bytes.end());
      return;
    }
  }
  remove(address, end);
  ranges_.emplace(address, wire::Bytes(bytes.begin(), bytes.end()));
}

void ByteRanges::remove(std::uint64_t address, std::uint64_t end) {
  for (auto at = first_that_ends_after(address); at != ranges_.end() && at->first < end;
       at = first_that_ends_after(address)) {
    auto node = ranges_.extract(at);
    const std::uint64_t start = node.key();
    wire::Bytes& there = node.mapped();
    if (start + there.size() > end) {
      ranges_.emplace(end, wire::Bytes(there.begin() + static_cast<std::ptrdiff_t>(end - start), there.end()));
    }
    if (start >= address) continue;
    there.resize(address - start);
    ranges_.insert(std::move(node));
  }
}

void ByteRanges::copy_to(std::uint64_t address, std::span<std::byte> to) const {
  const std::uint64_t end = address + to.size();
  for (auto at = first_that_ends_after(address); at != ranges_.end() && at->first < end; ++at) {
    const std::uint64_t from = std::max(address, at->first), until = std::min(end, end_of(*at));
    std::memcpy(to.data() + (from - address), at->second.data() + (from - at->first), until - from);
  }
}

}  // namespace gallocy::runtime
