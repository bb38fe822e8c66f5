// ByteRanges: bytes at some addresses, as disjoint ranges; those that touch are one where that costs nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>

#include "wire/bytes.h"

namespace gallocy::runtime {

class ByteRanges {
 public:
  bool empty() const { return ranges_.empty(); }
  void clear() { ranges_.clear(); }

  // Replaces what is there.
  void put(std::uint64_t address, std::span<const std::byte> bytes);
  // Copies to `to`, which stands for the bytes at `address`, those that are there.
  void copy_to(std::uint64_t address, std::span<std::byte> to) const;

  bool has(std::uint64_t address, std::uint64_t bytes) const {
    bool all = true;
    for_each_gap(address, bytes, [&](std::uint64_t, std::uint64_t) { all = false; });
    return all;
  }

  // f(address, bytes) for each range, ascending.
  template <typename F>
  void for_each(F&& f) const {
    for (const auto& [address, bytes] : ranges_) f(address, std::span<const std::byte>(bytes));
  }
  // f(address, bytes) for each part of [address, + bytes) that is not there, ascending. f does not change this.
  template <typename F>
  void for_each_gap(std::uint64_t address, std::uint64_t bytes, F&& f) const {
    const std::uint64_t end = address + bytes;
    for (auto at = first_that_ends_after(address); address < end && at != ranges_.end() && at->first < end; ++at) {
      if (at->first > address) f(address, at->first - address);
      address = end_of(*at);
    }
    if (address < end) f(address, end - address);
  }

 private:
  using Ranges = std::map<std::uint64_t, wire::Bytes>;
  static std::uint64_t end_of(const Ranges::value_type& range) { return range.first + range.second.size(); }
  Ranges::const_iterator first_that_ends_after(std::uint64_t address) const;
  void remove(std::uint64_t address, std::uint64_t end);

  Ranges ranges_;
};

}  // namespace gallocy::runtime
