#include "runtime/byte_ranges.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "base/prng.h"

namespace gallocy::runtime {
namespace {

constexpr std::uint64_t kBase = 0x2000'0000'0000, kBytes = 200;

using Twin = std::vector<std::optional<std::byte>>;

void expect_equal(const ByteRanges& ranges, const Twin& twin, std::uint64_t offset, std::uint64_t bytes) {
  constexpr std::byte kUntouched{0xee};
  wire::Bytes seen(bytes, kUntouched);
  ranges.copy_to(kBase + offset, seen);
  for (std::uint64_t i = 0; i < bytes; ++i) ASSERT_EQ(seen[i], twin[offset + i].value_or(kUntouched)) << offset + i;
  std::vector<bool> gap(bytes);
  ranges.for_each_gap(kBase + offset, bytes, [&](std::uint64_t address, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) gap.at(address - kBase - offset + i) = true;
  });
  ASSERT_EQ(ranges.has(kBase + offset, bytes), std::ranges::find(gap, true) == gap.end());
  for (std::uint64_t i = 0; i < bytes; ++i) ASSERT_EQ(gap[i], !twin[offset + i].has_value()) << offset + i;
}

TEST(ByteRanges, are_as_an_array_would_be) {
  for (std::uint64_t seed = 1; seed <= 500; ++seed) {
    Prng random(seed);
    ByteRanges ranges;
    Twin twin(kBytes);
    for (int step = 0; step < 40; ++step) {
      const std::uint64_t offset = random.below(kBytes),
                          bytes = random.below(std::min(kBytes - offset, 1 + random.below(60)) + 1);
      wire::Bytes data(bytes);
      for (std::byte& byte : data) byte = static_cast<std::byte>(random());
      ranges.put(kBase + offset, data);
      std::ranges::copy(data, twin.begin() + static_cast<std::ptrdiff_t>(offset));
      expect_equal(ranges, twin, 0, kBytes);
      const std::uint64_t from = random.below(kBytes);
      expect_equal(ranges, twin, from, random.below(kBytes - from + 1));
      std::uint64_t last = 0;
      ranges.for_each([&](std::uint64_t address, std::span<const std::byte> range) {
        ASSERT_GE(address, last);
        ASSERT_FALSE(range.empty());
        last = address + range.size();
      });
    }
  }
}

TEST(ByteRanges, written_one_after_the_other_are_one) {
  ByteRanges ranges;
  const wire::Bytes word(8, std::byte{1});
  for (std::uint64_t i = 0; i < 100; ++i) ranges.put(kBase + 8 * i, word);
  std::vector<std::size_t> sizes;
  ranges.for_each([&](std::uint64_t, std::span<const std::byte> range) { sizes.push_back(range.size()); });
  EXPECT_EQ(sizes, std::vector<std::size_t>{800});
}

}  // namespace
}  // namespace gallocy::runtime
