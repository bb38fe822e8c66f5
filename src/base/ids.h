// The distinct integer types of the system, and the fixed numbers of the global address window.
#pragma once

#include <fmt/format.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace gallocy {

// A strong integer: compares and hashes, converts only on request.
template <typename Tag, typename Value>
struct Id {
  using value_type = Value;
  Value value{};
  constexpr Id() = default;
  constexpr explicit Id(Value v) : value(v) {}
  constexpr auto operator<=>(const Id&) const = default;
};

using NodeId = Id<struct NodeTag, std::uint16_t>;      // position in the cluster, 0 … kMaxNodes - 1
using PageId = Id<struct PageTag, std::uint64_t>;      // page number within the window
using BlockId = Id<struct BlockTag, std::uint64_t>;    // page number / kBlockPages
using RegionId = Id<struct RegionTag, std::uint32_t>;  // assigned by the VMM log, never reused
using LogIndex = Id<struct LogTag, std::uint64_t>;     // position in the VMM log, from 1
using Epoch = Id<struct EpochTag, std::uint32_t>;      // membership version, from 1

// Directory entries name owners with 10 bits.
inline constexpr std::uint16_t kMaxNodes = 1000;
inline constexpr NodeId kNoNode{0xffff};

inline constexpr std::size_t kPageBytes = 4096;
// A block is the unit that has one home and the largest set of pages that one message speaks of: a set is one 64-bit
// mask.
inline constexpr std::size_t kBlockPages = 64;
inline constexpr std::size_t kBlockBytes = kBlockPages * kPageBytes;

// The global window: the same addresses on every node. 32 TiB lies between the programs and the mmap area of x86-64
// Linux at any ASLR offset, and outside AddressSanitizer's shadow memory.
inline constexpr std::uint64_t kWindowBase = 0x2000'0000'0000;
inline constexpr std::uint64_t kWindowBytes = 0x1000'0000'0000;

constexpr PageId page_of(std::uint64_t address) { return PageId{(address - kWindowBase) / kPageBytes}; }
constexpr std::uint64_t address_of(PageId page) { return kWindowBase + page.value * kPageBytes; }
constexpr BlockId block_of(PageId page) { return BlockId{page.value / kBlockPages}; }
constexpr PageId first_page(BlockId block) { return PageId{block.value * kBlockPages}; }
constexpr unsigned index_in_block(PageId page) { return static_cast<unsigned>(page.value % kBlockPages); }
constexpr bool in_window(std::uint64_t address) { return address - kWindowBase < kWindowBytes; }

}  // namespace gallocy

template <typename Tag, typename Value>
struct std::hash<gallocy::Id<Tag, Value>> {
  std::size_t operator()(gallocy::Id<Tag, Value> id) const noexcept { return std::hash<Value>{}(id.value); }
};

template <typename Tag, typename Value>
struct fmt::formatter<gallocy::Id<Tag, Value>> : fmt::formatter<Value> {
  auto format(gallocy::Id<Tag, Value> id, format_context& context) const {
    return fmt::formatter<Value>::format(id.value, context);
  }
};
