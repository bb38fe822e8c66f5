// CRC-32C (Castagnoli), as in RFC 3720: what the records of a log on disk are guarded by.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace gallocy {

namespace crc32c_detail {

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0x82f63b78u : 0u);
    table[i] = value;
  }
  return table;
}

inline constexpr auto kTable = make_table();

}  // namespace crc32c_detail

constexpr std::uint32_t crc32c(std::span<const std::byte> bytes) {
  std::uint32_t value = ~std::uint32_t{0};
  for (const std::byte byte : bytes)
    value = value >> 8 ^ crc32c_detail::kTable[(value ^ std::to_integer<std::uint32_t>(byte)) & 0xff];
  return ~value;
}

}  // namespace gallocy
