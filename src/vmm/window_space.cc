#include "vmm/window_space.h"

#include <iterator>

#include "base/check.h"

namespace gallocy::vmm {

static_assert(kWindowBase % kRegionAlignBytes == 0 && kWindowBytes % kRegionAlignBytes == 0);
static_assert(kRegionAlignBytes % kBlockBytes == 0, "regions share no block");

std::optional<std::uint64_t> WindowSpace::allocate(std::uint64_t bytes) {
  for (auto range = free_.begin(); range != free_.end(); ++range) {
    if (range->second < span_of(bytes)) continue;
    const std::uint64_t address = range->first;
    carve(range, address, span_of(bytes));
    return address;
  }
  return std::nullopt;
}

bool WindowSpace::take(std::uint64_t address, std::uint64_t bytes) {
  auto range = free_.upper_bound(address);
  if (address % kRegionAlignBytes != 0 || range == free_.begin()) return false;
  --range;
  const std::uint64_t before = address - range->first;
  if (before >= range->second || range->second - before < span_of(bytes)) return false;
  carve(range, address, span_of(bytes));
  return true;
}

void WindowSpace::release(std::uint64_t address, std::uint64_t bytes) {
  bytes = span_of(bytes);
  auto next = free_.lower_bound(address);
  CHECK(next == free_.end() || address + bytes <= next->first, address, bytes, next->first);
  if (next != free_.end() && next->first == address + bytes) {
    bytes += next->second;
    next = free_.erase(next);
  }
  if (next == free_.begin()) return void(free_.emplace(address, bytes));
  const auto previous = std::prev(next);
  CHECK(previous->first + previous->second <= address, previous->first, previous->second, address);
  if (previous->first + previous->second == address) {
    previous->second += bytes;
  } else {
    free_.emplace(address, bytes);
  }
}

std::uint64_t WindowSpace::free_bytes() const {
  std::uint64_t total = 0;
  for (const auto& [address, bytes] : free_) total += bytes;
  return total;
}

void WindowSpace::carve(Ranges::iterator range, std::uint64_t address, std::uint64_t bytes) {
  const auto [start, length] = *range;
  free_.erase(range);
  if (address > start) free_.emplace(start, address - start);
  if (start + length > address + bytes) free_.emplace(address + bytes, start + length - address - bytes);
}

}  // namespace gallocy::vmm
