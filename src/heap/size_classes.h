// Size classes: the sizes of objects that slabs hold. Eight classes to each doubling (16 bytes apart up to 128), so
// that a block is at most 15 bytes or one ninth larger than what was asked for.
//
//   16 32 48 … 128 | 144 160 … 256 | 288 320 … 512 | … | 128 KiB
//
// Invariants
// 1. Every class is a multiple of kQuantumBytes, so that every object is aligned to it.
// 2. Object i of a slab begins at i * bytes, and a slab begins on a granule: an object is aligned to every power of two
// up
//    to the page that divides the size of its class.
// 3. A slab holds at most kMaxObjects objects: 64 words of 64 bits name them all.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace gallocy::heap {

// The unit in which the heap hands out address space: a slab or a large object is a run of granules. 64 KiB holds 4096
// of the smallest objects, which is what two levels of 64-bit words can name.
inline constexpr unsigned kGranuleBits = 16;
inline constexpr std::uint64_t kGranuleBytes = std::uint64_t{1} << kGranuleBits;

inline constexpr std::size_t kQuantumBytes = 16;
// Larger objects are runs of their own. Up to here a run would waste more than half of its addresses (never frames).
inline constexpr std::size_t kMaxClassBytes = 128 * 1024;
// Few objects in a slab would mean a visit to the shared heap for every few allocations.
inline constexpr std::size_t kMinSlabObjects = 8;
inline constexpr std::size_t kMaxObjects = 4096;

// The class of a size of 1 … kMaxClassBytes.
constexpr unsigned class_of(std::size_t bytes) {
  const std::size_t last = bytes - 1;
  const unsigned doubling = static_cast<unsigned>(std::bit_width(last | 255)) - 8;
  return doubling * 8 + static_cast<unsigned>(last >> (doubling + 4));
}

inline constexpr unsigned kClassCount = class_of(kMaxClassBytes) + 1;

constexpr std::size_t bytes_of_class(unsigned size_class) {
  if (size_class < 8) return (size_class + 1) * kQuantumBytes;
  return (size_class % 8 + 9) << (size_class / 8 + 3);
}

struct SizeClass {
  std::uint32_t bytes = 0;
  std::uint32_t objects = 0;     // in a slab
  std::uint32_t granules = 0;    // of a slab
  std::uint64_t reciprocal = 0;  // 2^64 / bytes, rounded up
};

__extension__ using Wide = unsigned __int128;

// Divides by the size of a class: the high half of the product is the quotient, and the low half is less than the
// reciprocal exactly if nothing remains (Lemire, Kaser, Kurz: "Faster remainder by direct computation", 2019; both
// numbers are below 2^32). Returns false if something does.
constexpr bool divide(std::uint64_t delta, std::uint64_t reciprocal, std::uint64_t& quotient) {
  const Wide product = static_cast<Wide>(delta) * reciprocal;
  quotient = static_cast<std::uint64_t>(product >> 64);
  return static_cast<std::uint64_t>(product) < reciprocal;
}

// The number of the object that begins `delta` bytes from the start of its slab; `objects` if none does.
constexpr std::uint64_t object_at(const SizeClass& info, std::uint64_t delta) {
  std::uint64_t index = 0;
  return divide(delta, info.reciprocal, index) && index < info.objects ? index : info.objects;
}

constexpr SizeClass make_size_class(unsigned size_class) {
  const std::size_t bytes = bytes_of_class(size_class);
  const std::size_t slab_bytes = std::max<std::size_t>(kGranuleBytes, std::bit_ceil(bytes * kMinSlabObjects));
  return {.bytes = static_cast<std::uint32_t>(bytes),
          .objects = static_cast<std::uint32_t>(slab_bytes / bytes),
          .granules = static_cast<std::uint32_t>(slab_bytes / kGranuleBytes),
          .reciprocal = ~std::uint64_t{0} / bytes + 1};
}

inline constexpr std::array<SizeClass, kClassCount> kSizeClasses = [] {
  std::array<SizeClass, kClassCount> classes{};
  for (unsigned c = 0; c < kClassCount; ++c) classes[c] = make_size_class(c);
  return classes;
}();

static_assert(kSizeClasses.front().bytes == kQuantumBytes && kSizeClasses.front().objects == kMaxObjects);
static_assert(kSizeClasses.back().bytes == kMaxClassBytes);

// Sizes up to kTableBytes, by far the most frequent, find their class by one load.
inline constexpr std::size_t kTableBytes = 1024;
inline constexpr std::array<std::uint8_t, kTableBytes / kQuantumBytes + 1> kClassTable = [] {
  std::array<std::uint8_t, kTableBytes / kQuantumBytes + 1> table{};
  for (std::size_t quanta = 1; quanta < table.size(); ++quanta) {
    table[quanta] = static_cast<std::uint8_t>(class_of(quanta * kQuantumBytes));
  }
  return table;  // table[0]: an object of no bytes is one of the smallest
}();

}  // namespace gallocy::heap
