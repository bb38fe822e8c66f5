// What the parts of AddressSpace have in common. Private to address_space*.cc.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>

#include "base/ids.h"
#include "personality/address_space.h"

namespace gallocy::personality {

// The end of what a program can name on x86-64: sizes beyond it are errors, sums below it do not overflow.
inline constexpr std::uint64_t kAddressEnd = 1ull << 47;

inline std::uint64_t page_up(std::uint64_t value) { return (value + kPageBytes - 1) & ~(kPageBytes - 1); }
inline bool page_aligned(std::uint64_t value) { return value % kPageBytes == 0; }
inline bool nameable(std::uint64_t address, std::uint64_t bytes) {
  return bytes <= kAddressEnd && address <= kAddressEnd - page_up(bytes);
}

// The permission that pages of this protection are to have.
inline int effective(int protection) {
  if (protection & PROT_WRITE) return PROT_READ | PROT_WRITE;
  return protection & (PROT_READ | PROT_EXEC) ? PROT_READ : PROT_NONE;
}

inline bool holds_bytes(const Area& area) { return area.file != kNoFile || effective(area.protection) != PROT_NONE; }

// The part of the area within [begin, end), which overlaps it.
inline Area cut(const Area& area, std::uint64_t begin, std::uint64_t end) {
  Area part = area;
  part.begin = std::max(begin, area.begin);
  part.end = std::min(end, area.end);
  if (part.file != kNoFile) part.offset += part.begin - area.begin;
  return part;
}

// Whether `second`, which begins where `first` ends, continues it.
inline bool continues(const Area& first, const Area& second) {
  return first.protection == second.protection && first.shared == second.shared && first.file == second.file &&
         (first.file == kNoFile || first.offset + (first.end - first.begin) == second.offset) &&
         first.name == second.name;
}

// Appends the change, as a longer last one if it adjoins that.
void append(Changes& changes, const Change& change);

}  // namespace gallocy::personality
